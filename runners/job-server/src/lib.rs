//! Beam's Job API: prepare, stage artifacts, run, watch, cancel.
