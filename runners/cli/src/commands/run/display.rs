//! How jobs go on, on standard error: bars on a terminal, lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use purlin_backend::driver::StageProgress;
use purlin_job_server::{Job, profile_to_wire};
use purlin_proto::urns::monitoring_info_type_urns::SUM_INT64_TYPE;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::profile;

/// How often bars move. Nothing waits for it.
const REFRESH: Duration = Duration::from_millis(100);

/// Shows jobs until it is finished.
#[derive(Debug)]
pub(super) struct Display {
    printer: Printer,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Writes lines between the bars.
#[derive(Clone, Debug)]
pub(super) struct Printer {
    bars: Option<MultiProgress>,
    /// Whether the profile of each job is shown at its end.
    profile: bool,
}

impl Printer {
    pub(super) fn line(&self, text: &str) {
        match &self.bars {
            // An error means that standard error is gone, and with it whoever would read this.
            Some(bars) => drop(bars.println(text)),
            None => crate::terminal::note(text),
        }
    }
}

impl Display {
    pub(super) fn start(jobs: mpsc::UnboundedReceiver<Arc<Job>>, profile: bool) -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        let printer = Printer { bars, profile };
        let stop = CancellationToken::new();
        let task = tokio::spawn(show_all(jobs, printer.clone(), stop.clone()));
        Self { printer, stop, task }
    }

    /// Whether bars are drawn.
    pub(super) fn draws(&self) -> bool {
        self.printer.bars.is_some()
    }

    pub(super) fn printer(&self) -> Printer {
        self.printer.clone()
    }

    /// Shows how all jobs ended.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        // A panic in the display must not change how the program's run ends.
        let _ = self.task.await;
    }
}

async fn show_all(mut jobs: mpsc::UnboundedReceiver<Arc<Job>>, printer: Printer, stop: CancellationToken) {
    let mut shown: Vec<Shown> = Vec::new();
    let mut refresh = tokio::time::interval(REFRESH);
    refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(job) = jobs.recv() => shown.push(Shown::new(job, &printer)),
            () = stop.cancelled() => break,
            // Without bars, only ends are shown.
            _ = refresh.tick(), if printer.bars.is_some() && !shown.is_empty() => shown.iter_mut().for_each(Shown::refresh),
        }
    }
    while let Ok(job) = jobs.try_recv() {
        shown.push(Shown::new(job, &printer));
    }
    shown.iter_mut().for_each(Shown::finish);
}

/// One job on the screen.
#[derive(Debug)]
struct Shown {
    job: Arc<Job>,
    printer: Printer,
    began: Instant,
    bars: BTreeMap<usize, ProgressBar>,
}

impl Shown {
    fn new(job: Arc<Job>, printer: &Printer) -> Self {
        printer.line(&format!("purlin: {} runs on {}", job.id(), job.runner()));
        Self { job, printer: printer.clone(), began: Instant::now(), bars: BTreeMap::new() }
    }

    fn refresh(&mut self) {
        for (index, stage) in self.job.progress().iter().enumerate() {
            self.refresh_stage(index, stage);
        }
    }

    fn refresh_stage(&mut self, index: usize, stage: &StageProgress) {
        let busy = stage.bundles_running > 0 || stage.elements_pending > 0;
        let Some(bars) = &self.printer.bars else { return };
        if !busy && !self.bars.contains_key(&index) {
            return;
        }
        let bar = self.bars.entry(index).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(0));
            let template = "{prefix:40!} {bar:24} {human_pos}/{human_len} {per_sec}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(profile::short(&stage.name));
            bar
        });
        bar.set_length(stage.elements_done + stage.elements_pending);
        bar.set_position(stage.elements_done);
        if stage.done {
            bar.finish_and_clear();
        }
    }

    fn finish(&mut self) {
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let state = self.job.state().to_wire().as_str_name();
        let elements: u64 = self.job.progress().iter().map(|stage| stage.elements_done).sum();
        self.printer.line(&format!(
            "purlin: {} is {state} after {seconds:.1} s, {elements} elements through {} stages",
            self.job.id(),
            self.job.progress().len()
        ));
        for (key, payload) in self.job.metrics().committed.iter() {
            let (Some(namespace), Some(name)) = (key.labels.get("NAMESPACE"), key.labels.get("NAME")) else { continue };
            // Go labels its own measures like a user's, with empty names.
            if key.urn.starts_with("beam:metric:user:")
                && !name.is_empty()
                && &*key.kind == SUM_INT64_TYPE
                && let Ok(value) = purlin_model::coder::varint::read_varint(&mut &payload[..])
            {
                self.printer.line(&format!("purlin:   {namespace}:{name} = {value}"));
            }
        }
        if self.printer.profile {
            profile::show(&profile_to_wire(self.job.profile())).lines().for_each(|line| self.printer.line(line));
        }
    }
}
