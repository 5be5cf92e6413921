//! Timers of a stage: read as SDKs set them, written as they fire.
//!
//! ```text
//!   worker ══Timers══► read ─► rules ─► StateView.set_timer        StateView.take_due ─► Timers ══► worker
//!   elements of a DoFn that hears of expiry ─► a timer at the end of each key and window
//! ```
//! A timer on the wire (`beam:coder:timer:v1`): key · tag · windows · clear · [fire · hold · pane]. Which timers are due
//! is the engine's to say, and when they count the bundle's.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use purlin_backend::WindowLifetime;
use purlin_engine::core::stage::StageId;
use purlin_engine::store::{Timer, TimerDomain};
use purlin_model::coder::varint::{read_varint, write_length};
use purlin_model::coder::{Coder, Context};
use purlin_model::element::{decode_window, encode_window};
use purlin_model::pane::PaneInfo;
use purlin_model::time::{EventTime, ProcessingTime};
use purlin_model::window::{BoundedWindow, WindowCoder};
use purlin_plan::StageGraph;
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::pipeline::v1::time_domain;
use std::sync::Arc;
use thiserror::Error;

/// A timer that is set by the runner for `on_window_expiration` has the tag that SDKs give theirs: none.
const NO_TAG: &[u8] = b"";

/// What is known of the timers of a stage.
#[derive(Debug)]
pub(crate) struct StageTimers {
    /// By transform and family; each takes a terminator and gives one back.
    families: BTreeMap<(String, String), Family>,
    /// How keys stand in the stage's input, and in timers.
    key: Arc<Coder>,
    lifetime: WindowLifetime,
}

#[derive(Debug)]
struct Family {
    /// The transform's unique name, under which state is kept.
    transform: Arc<str>,
    name: Arc<str>,
    domain: TimerDomain,
    /// Whether the runner sets it, for each key and window that is seen.
    on_expiration: bool,
}

/// Why bytes are not timers.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum TimerFault {
    #[error("a timer's {0} cannot be read")]
    Malformed(&'static str),
    #[error("no timer of this family was declared")]
    UnknownFamily,
}

/// What becomes of a timer that an SDK set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// It is set, moved or cleared.
    Set(Timer),
    /// It would fire when its window is gone: it fires with the window's end instead.
    Early(Timer),
    /// Its window is gone already, or it would never fire: it is cleared instead.
    Dropped(Timer),
}

impl StageTimers {
    /// `None` if the stage has no timers.
    pub(crate) fn new(
        plan: &StageGraph,
        stage: StageId,
        proto: &fnpb::ProcessBundleDescriptor,
        lifetime: WindowLifetime,
    ) -> Option<Self> {
        // Without an address for timers a worker neither sends nor expects any.
        proto.timer_api_service_descriptor.as_ref()?;
        let mut families = BTreeMap::new();
        for (id, transform) in &proto.transforms {
            let Some(payload) = par_do(transform) else { continue };
            for (family, spec) in &payload.timer_family_specs {
                let on_clock = spec.time_domain == time_domain::Enum::ProcessingTime as i32;
                let entry = Family {
                    transform: transform.unique_name.as_str().into(),
                    name: family.as_str().into(),
                    domain: if on_clock { TimerDomain::ProcessingTime } else { TimerDomain::EventTime },
                    on_expiration: payload.on_window_expiration_timer_family_spec == *family,
                };
                families.insert((id.clone(), family.clone()), entry);
            }
        }
        let upstream = plan.graph.stage(stage).upstream.first().map(|output| plan.graph.output(*output));
        let key = upstream.and_then(|output| match &*output.coder {
            Coder::Kv(key, _) => Some(key.clone()),
            _ => None,
        });
        Some(Self {
            families,
            // A stage that nothing flows into has no keys, and so no timers that are ever set.
            key: key.unwrap_or_else(|| Arc::new(Coder::Bytes)),
            lifetime,
        })
        .filter(|timers| !timers.families.is_empty())
    }

    /// Transform and family, in order.
    pub(crate) fn families(&self) -> impl Iterator<Item = (&str, &str)> {
        self.families.keys().map(|(transform, family)| (transform.as_str(), family.as_str()))
    }

    /// Whether the runner sets timers for the ends of windows.
    pub(crate) fn hears_of_expiration(&self) -> bool {
        self.families.values().any(|family| family.on_expiration)
    }

    /// What becomes of a timer, by the rules of its time domain.
    fn settle(&self, timer: Timer, window: &BoundedWindow, watermark: EventTime) -> Setting {
        let Some(fire) = timer.fire_at else { return Setting::Set(timer) };
        let last = self.lifetime.last_firing(window);
        // It is set as the last things of its window happen, and would go on for ever if it sets itself again. At the end of
        // the input nothing is collected any more, so that timers of the clock can be waited for.
        let never = watermark > self.lifetime.expiry(window)
            && match timer.domain {
                TimerDomain::EventTime | TimerDomain::WindowExpiration => fire > last.millis(),
                TimerDomain::ProcessingTime => self.lifetime.expire() && watermark != EventTime::MAX,
            };
        if never {
            return Setting::Dropped(Timer { fire_at: None, ..timer });
        }
        match timer.domain {
            TimerDomain::ProcessingTime => {
                let expires = self.lifetime.expire().then_some(last);
                Setting::Set(Timer { expires, ..timer })
            }
            TimerDomain::EventTime | TimerDomain::WindowExpiration => {
                // What it emits belongs to its window, so that it holds back those who wait for the window's end.
                let behind = timer.hold.millis() == fire && timer.hold > window.max_timestamp();
                let hold = if behind { window.max_timestamp() } else { timer.hold };
                if fire > last.millis() {
                    Setting::Early(Timer { fire_at: Some(last.millis()), hold, ..timer })
                } else if behind && *window != BoundedWindow::Global {
                    Setting::Set(Timer { hold, output_timestamp: Some(fire), ..timer })
                } else {
                    Setting::Set(Timer { hold, ..timer })
                }
            }
        }
    }

    /// Reads what a worker set in a bundle that was handed out at this watermark.
    pub(crate) fn read(
        &self,
        timers: &fnpb::elements::Timers,
        watermark: EventTime,
    ) -> Result<Vec<Setting>, TimerFault> {
        let place = (timers.transform_id.clone(), timers.timer_family_id.clone());
        let family = self.families.get(&place).ok_or(TimerFault::UnknownFamily)?;
        let mut settings = Vec::new();
        let mut rest = &timers.timers[..];
        while !rest.is_empty() {
            self.read_one(&mut rest, family, watermark, &mut settings)?;
        }
        Ok(settings)
    }

    fn read_one(
        &self,
        rest: &mut &[u8],
        family: &Family,
        watermark: EventTime,
        settings: &mut Vec<Setting>,
    ) -> Result<(), TimerFault> {
        let from = *rest;
        self.key.skip(rest, Context::Nested).map_err(|_| TimerFault::Malformed("key"))?;
        let key = Bytes::copy_from_slice(&from[..from.len() - rest.len()]);
        let length = read_varint(rest).ok().and_then(|length| usize::try_from(length).ok());
        let tag = length.and_then(|length| rest.split_at_checked(length)).ok_or(TimerFault::Malformed("tag"))?;
        *rest = tag.1;
        let count = take::<4>(rest, "windows").map(i32::from_be_bytes)?;
        // A timer in no window would be one that nobody sets.
        if count < 1 {
            return Err(TimerFault::Malformed("count of windows"));
        }
        let mut windows = Vec::new();
        for _ in 0..count {
            let from = *rest;
            let window = decode_window(rest, self.lifetime.windows).map_err(|_| TimerFault::Malformed("window"))?;
            windows.push((window, Bytes::copy_from_slice(&from[..from.len() - rest.len()])));
            // A window of the global coder has no bytes, so that a count alone could go on for ever.
            if windows.len() > 1 && self.lifetime.windows == WindowCoder::Global {
                return Err(TimerFault::Malformed("count of windows"));
            }
        }
        let cleared = match take::<1>(rest, "clear bit")? {
            [0] => false,
            [1] => true,
            [_] => return Err(TimerFault::Malformed("clear bit")),
        };
        let times = if cleared {
            None
        } else {
            let fire = instant(take::<8>(rest, "fire timestamp")?);
            let hold = instant(take::<8>(rest, "hold timestamp")?);
            let from = *rest;
            PaneInfo::skip(rest).ok_or(TimerFault::Malformed("pane"))?;
            Some((fire, hold, Bytes::copy_from_slice(&from[..from.len() - rest.len()])))
        };
        for (window, encoded) in windows {
            let (fire_at, output_timestamp, pane) = match &times {
                Some((fire, hold, pane)) => (Some(*fire), *hold, pane.clone()),
                None => (None, EventTime::MAX.millis(), Bytes::new()),
            };
            let hold = EventTime::from_millis(output_timestamp);
            let timer = Timer {
                key: key.clone(),
                fire_at,
                transform: family.transform.clone(),
                family: family.name.clone(),
                tag: Bytes::copy_from_slice(tag.0),
                window: encoded,
                domain: family.domain,
                expires: None,
                hold,
                // Java's timers that emit nothing have one behind all of Beam's time.
                output_timestamp: (output_timestamp > EventTime::MAX.millis()).then_some(output_timestamp),
                pane,
            };
            settings.push(self.settle(timer, &window, watermark));
        }
        Ok(())
    }

    /// Timers as they fire: runs of one family, in the order given.
    ///
    /// Those of the clock that fire before their time, because their window expires or their job is drained, fire `now`: within
    /// a bundle SDKs fire what was set for an instant before that of the next timer, and one that sets itself again would go
    /// on until the clock is there.
    pub(crate) fn write(&self, instruction: &str, due: &[Timer], now: ProcessingTime) -> Vec<fnpb::elements::Timers> {
        let mut messages: Vec<fnpb::elements::Timers> = Vec::new();
        for run in due.chunk_by(|a, b| (&a.transform, &a.family) == (&b.transform, &b.family)) {
            let Some(first) = run.first() else { continue };
            let mut of_family = self.families.iter();
            let place = of_family.find(|(_, it)| it.transform == first.transform && it.name == first.family);
            // State is kept by names of this very plan, so that each has its place.
            let Some(((transform, family), _)) = place else { continue };
            let mut bytes = Vec::new();
            run.iter().for_each(|timer| write_one(timer, now, &mut bytes));
            messages.push(fnpb::elements::Timers {
                instruction_id: instruction.to_owned(),
                transform_id: transform.clone(),
                timer_family_id: family.clone(),
                timers: bytes.into(),
                is_last: false,
            });
        }
        messages
    }

    /// The timers for the ends of an element's windows: one of each family that hears of expiry.
    pub(crate) fn expirations<'a>(
        &'a self,
        key: &'a Bytes,
        windows: &'a [BoundedWindow],
    ) -> impl Iterator<Item = Timer> + 'a {
        let families = self.families.values().filter(|family| family.on_expiration);
        families.flat_map(move |family| {
            windows.iter().map(move |window| {
                let (mut encoded, mut pane) = (Vec::new(), Vec::new());
                encode_window(window, &mut encoded);
                PaneInfo::NO_FIRING.encode(&mut pane);
                Timer {
                    key: key.clone(),
                    fire_at: Some((window.max_timestamp() + self.lifetime.allowed_lateness).millis()),
                    transform: family.transform.clone(),
                    family: family.name.clone(),
                    tag: Bytes::from_static(NO_TAG),
                    window: encoded.into(),
                    domain: TimerDomain::WindowExpiration,
                    expires: None,
                    hold: window.max_timestamp(),
                    output_timestamp: None,
                    pane: pane.into(),
                }
            })
        })
    }

    /// How keys stand in the stage's input.
    pub(crate) fn key_coder(&self) -> &Coder {
        &self.key
    }

    /// How windows stand in the stage's input.
    pub(crate) fn window_coder(&self) -> WindowCoder {
        self.lifetime.windows
    }
}

fn par_do(transform: &pb::PTransform) -> Option<pb::ParDoPayload> {
    use purlin_proto::urns::standard_ptransforms::primitives;
    let spec = transform.spec.as_ref().filter(|spec| spec.urn == primitives::PAR_DO)?;
    // The plan has read this payload already, so that it can be read.
    pb::ParDoPayload::decode(spec.payload.clone()).ok()
}

fn take<const N: usize>(rest: &mut &[u8], what: &'static str) -> Result<[u8; N], TimerFault> {
    let (taken, behind) = rest.split_first_chunk::<N>().ok_or(TimerFault::Malformed(what))?;
    *rest = behind;
    Ok(*taken)
}

/// Milliseconds. Java writes an instant behind the last one to say that it wants no hold, so that any is taken.
fn instant(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64
}

/// Writes what [`instant`] reads: an instant that may lie outside of Beam's range.
fn wire(instant: i64) -> [u8; 8] {
    (instant as u64 ^ (1 << 63)).to_be_bytes()
}

fn write_one(timer: &Timer, now: ProcessingTime, out: &mut Vec<u8>) {
    out.extend_from_slice(&timer.key);
    write_length(timer.tag.len(), out);
    out.extend_from_slice(&timer.tag);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&timer.window);
    out.push(0);
    let fire_at = match timer.domain {
        TimerDomain::EventTime | TimerDomain::WindowExpiration => timer.fire_at,
        TimerDomain::ProcessingTime => timer.fire_at.map(|at| at.min(now.0)),
    };
    out.extend_from_slice(&EventTime::from_millis(fire_at.unwrap_or(timer.hold.millis())).to_wire());
    let output_timestamp = timer.output_timestamp.unwrap_or(timer.hold.millis());
    out.extend_from_slice(&wire(output_timestamp));
    out.extend_from_slice(&timer.pane);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use purlin_model::time::Millis;

    /// protocol: key "k", tag "tag", the global window, fire 1000, hold 2000, no firing.
    const SET: &[u8] = &[
        0x01, 0x6b, 0x03, 0x74, 0x61, 0x67, 0, 0, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 3, 0xe8, 0x80, 0, 0, 0, 0, 0, 7, 0xd0,
        0x0f,
    ];
    const CLEAR: &[u8] = &[0x01, 0x6b, 0, 0, 0, 0, 1, 1];

    fn timers(windows: WindowCoder) -> StageTimers {
        let family = |name: &str, domain, on_expiration| {
            let place = ("t1".to_owned(), name.to_owned());
            (place, Family { transform: "Count".into(), name: name.into(), domain, on_expiration })
        };
        StageTimers {
            families: BTreeMap::from([
                family("event", TimerDomain::EventTime, false),
                family("clock", TimerDomain::ProcessingTime, false),
                family("end", TimerDomain::EventTime, true),
            ]),
            key: Arc::new(Coder::Bytes),
            lifetime: WindowLifetime { windows, allowed_lateness: Millis(5), bounded: false },
        }
    }

    fn message(family: &str, timers: &[u8]) -> fnpb::elements::Timers {
        fnpb::elements::Timers {
            instruction_id: "i".to_owned(),
            transform_id: "t1".to_owned(),
            timer_family_id: family.to_owned(),
            timers: Bytes::copy_from_slice(timers),
            is_last: false,
        }
    }

    #[test]
    fn what_was_set_fires_as_it_was_set() {
        let timers = timers(WindowCoder::Global);
        let settings = timers.read(&message("event", &[SET, CLEAR].concat()), EventTime::MIN).unwrap();
        let [Setting::Set(set), Setting::Set(clear)] = &settings[..] else { panic!("{settings:?}") };
        assert_eq!((set.fire_at, set.hold, &set.tag[..]), (Some(1000), EventTime::from_millis(2000), &b"tag"[..]));
        assert_eq!((clear.fire_at, &clear.key[..]), (None, &b"\x01k"[..]));
        // The clock goes on when the input has ended, and the global window with it.
        for watermark in [EventTime::MIN, EventTime::MAX] {
            let settings = timers.read(&message("clock", SET), watermark).unwrap();
            let [Setting::Set(clock)] = &settings[..] else { panic!("{settings:?}") };
            assert_eq!((clock.fire_at, clock.expires), (Some(1000), None));
        }
        let [fired] = &timers.write("i", std::slice::from_ref(set), ProcessingTime(0))[..] else {
            panic!("one family, one message")
        };
        assert_eq!((&fired.timers[..], fired.timer_family_id.as_str()), (SET, "event"));
    }

    #[test]
    fn the_clock_is_never_ahead_of_what_fires() {
        let timers = timers(WindowCoder::Global);
        let settings = timers.read(&message("clock", SET), EventTime::MIN).unwrap();
        let [Setting::Set(set)] = &settings[..] else { panic!("{settings:?}") };
        let fires_at = |now| {
            let [fired] = &timers.write("i", std::slice::from_ref(set), ProcessingTime(now))[..] else { panic!() };
            let [Setting::Set(told)] = &timers.read(fired, EventTime::MIN).unwrap()[..] else { panic!() };
            assert_eq!(told.hold, set.hold);
            told.fire_at
        };
        assert_eq!([999, 1000, 1001].map(fires_at), [Some(999), Some(1000), Some(1000)]);
    }

    #[test]
    fn a_timer_stands_in_one_window_at_least() {
        let timers = timers(WindowCoder::Global);
        for count in [0_i32, -1, i32::MIN, 2, i32::MAX] {
            let bytes = [&[1, b'k', 0][..], &count.to_be_bytes(), &[1]].concat();
            let read = timers.read(&message("event", &bytes), EventTime::MIN);
            assert_eq!(read, Err(TimerFault::Malformed("count of windows")), "{count}");
        }
    }

    #[test]
    fn timers_fire_with_their_window_at_the_latest() {
        let mut timers = timers(WindowCoder::Interval);
        let set = |fire: i64| {
            let mut bytes = vec![1, b'k', 0, 0, 0, 0, 1];
            let window = BoundedWindow::Interval { start: EventTime::from_millis(0), end: EventTime::from_millis(10) };
            encode_window(&window, &mut bytes);
            bytes.push(0);
            bytes.extend_from_slice(&EventTime::from_millis(fire).to_wire());
            bytes.extend_from_slice(&EventTime::from_millis(fire).to_wire());
            bytes.push(0x0f);
            bytes
        };
        let check = |timers: &StageTimers, family: &str, fire, watermark, expected: &str| {
            let settings = timers.read(&message(family, &set(fire)), watermark).unwrap();
            let told = match &settings[..] {
                [Setting::Set(timer @ Timer { expires: Some(expires), .. })] => {
                    format!("at {:?} or behind {} holds {}", timer.fire_at, expires.millis(), timer.hold.millis())
                }
                [Setting::Set(timer)] => format!("at {:?} holds {}", timer.fire_at, timer.hold.millis()),
                [Setting::Early(timer)] => format!("early, at {:?} holds {}", timer.fire_at, timer.hold.millis()),
                [Setting::Dropped(timer)] => format!("dropped, {:?}", timer.fire_at),
                other => panic!("{other:?}"),
            };
            assert_eq!(told, expected, "{family} {fire}");
        };
        check(&timers, "event", 5, EventTime::MIN, "at Some(5) holds 5");
        // The last instant of the window, with its lateness, and what Python calls its end.
        check(&timers, "event", 14, EventTime::MAX, "at Some(14) holds 9");
        check(&timers, "event", 15, EventTime::MIN, "at Some(15) holds 9");
        check(&timers, "event", 15, EventTime::MAX, "at Some(15) holds 9");
        check(&timers, "event", 16, EventTime::MIN, "early, at Some(15) holds 9");
        check(&timers, "event", 16, EventTime::MAX, "dropped, None");
        // The clock is not waited for when the window is gone; it goes on when the input has ended.
        check(&timers, "clock", 1_000_000, EventTime::from_millis(14), "at Some(1000000) or behind 15 holds 1000000");
        check(&timers, "clock", 1_000_000, EventTime::from_millis(15), "dropped, None");
        check(&timers, "clock", 1_000_000, EventTime::MAX, "at Some(1000000) or behind 15 holds 1000000");
        // Windows of bounded input do not go.
        timers.lifetime.bounded = true;
        check(&timers, "clock", 1_000_000, EventTime::from_millis(15), "at Some(1000000) holds 1000000");
    }

    #[test]
    fn what_a_timer_emits_has_the_timestamp_that_its_sdk_gave_it() {
        let timers = timers(WindowCoder::Interval);
        let told = |fire: i64, output: i64| {
            let mut bytes = vec![1, b'k', 0, 0, 0, 0, 1];
            let window = BoundedWindow::Interval { start: EventTime::from_millis(0), end: EventTime::from_millis(10) };
            encode_window(&window, &mut bytes);
            bytes.push(0);
            for at in [fire, output] {
                bytes.extend_from_slice(&wire(at));
            }
            bytes.push(0x0f);
            let settings = timers.read(&message("event", &bytes), EventTime::MIN).unwrap();
            let [Setting::Set(timer) | Setting::Early(timer)] = &settings[..] else { panic!("{settings:?}") };
            let fired = timers.write("i", std::slice::from_ref(timer), ProcessingTime(0));
            let emitted = *fired[0].timers[..fired[0].timers.len() - 1].last_chunk().unwrap();
            (timer.hold.millis(), instant(emitted))
        };
        assert_eq!(told(5, 3), (3, 3));
        // In the time that is allowed for late data; and behind it, where it fires when its window expires.
        assert_eq!(told(12, 12), (9, 12));
        assert_eq!(told(16, 16), (9, 9));
        // What emits nothing holds nothing, and is told so.
        let never = EventTime::MAX.millis() + 1;
        assert_eq!(told(5, never), (EventTime::MAX.millis(), never));
    }

    #[test]
    fn expiry_is_told_for_each_window() {
        let timers = timers(WindowCoder::Global);
        let key = Bytes::from_static(b"\x01k");
        let windows = [BoundedWindow::Global];
        let told: Vec<_> = timers.expirations(&key, &windows).collect();
        assert_eq!(told.len(), 1);
        assert_eq!((&*told[0].family, told[0].hold), ("end", EventTime::GLOBAL_WINDOW_MAX));
    }

    #[test]
    fn a_family_that_was_not_declared_is_refused() {
        let fault = timers(WindowCoder::Global).read(&message("other", SET), EventTime::MIN);
        assert_eq!(fault, Err(TimerFault::UnknownFamily));
    }

    proptest! {
        #[test]
        fn hostile_timers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for windows in [WindowCoder::Global, WindowCoder::Interval, WindowCoder::Custom] {
                let _ = timers(windows).read(&message("event", &bytes), EventTime::MIN);
            }
        }
    }
}
