//! What has happened in a world: a simulation in which something never happens does not test it.

/// How often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Bundles that were lost with their worker.
    pub(crate) lost: u64,
    /// Bundles that were split.
    pub(crate) split: u64,
    /// Elements that came too late for a grouping.
    pub(crate) late_for_groupings: u64,
    /// Elements that came too late for state.
    pub(crate) late_for_state: u64,
    /// Elements that came too late for the order of time.
    pub(crate) late_for_order: u64,
    /// Elements that came too late for a side input.
    pub(crate) late_for_sides: u64,
    /// Elements that came late, and were not dropped.
    pub(crate) late_in_time: u64,
    /// Side inputs of which windows went before the job ended.
    pub(crate) forgotten: u64,
    /// Panes that replaced what a side input held.
    pub(crate) refreshed: u64,
    /// Moments at which state was on disk.
    pub(crate) evicted: u64,
    /// Timers of the clock that a drain did not wait for.
    pub(crate) called_at_the_end: u64,
}

impl Seen {
    fn counts(&self) -> [(&'static str, u64); 11] {
        let Self {
            lost,
            split,
            late_for_groupings,
            late_for_state,
            late_for_order,
            late_for_sides,
            late_in_time,
            forgotten,
            refreshed,
            evicted,
            called_at_the_end,
        } = *self;
        [
            ("lost", lost),
            ("split", split),
            ("late for groupings", late_for_groupings),
            ("late for state", late_for_state),
            ("late for order", late_for_order),
            ("late for sides", late_for_sides),
            ("late in time", late_in_time),
            ("forgotten", forgotten),
            ("refreshed", refreshed),
            ("evicted", evicted),
            ("called at the end", called_at_the_end),
        ]
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        self.counts().into_iter().filter(|(_, count)| *count == 0).map(|(what, _)| what).collect()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.split += other.split;
        self.late_for_groupings += other.late_for_groupings;
        self.late_for_state += other.late_for_state;
        self.late_for_order += other.late_for_order;
        self.late_for_sides += other.late_for_sides;
        self.late_in_time += other.late_in_time;
        self.forgotten += other.forgotten;
        self.refreshed += other.refreshed;
        self.evicted += other.evicted;
        self.called_at_the_end += other.called_at_the_end;
    }
}
