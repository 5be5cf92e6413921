//! Tells of side inputs that nobody can read before their source ends, which may be never.
//!
//! ```text
//!   JobGraph ─► who reads an unbounded side input in the global window that fires at its end only ─► a warning each
//! ```
//! It is no error: the source may end, as those of tests do.

use purlin_engine::core::stage::{JobGraph, SideContents, SideMapping, SideSpec, StageSpec};
use purlin_model::window::WindowFn;

/// A warning for each stage and side input, in the words of the user's pipeline.
pub(super) fn warnings(graph: &JobGraph) -> Vec<String> {
    let mut warnings = Vec::new();
    for stage in &graph.stages {
        for gate in &stage.gates {
            let side = graph.side(gate.side);
            if !graph.stage(side.materialize).upstream.iter().all(|output| graph.output(*output).bounded) {
                warnings.extend(warning(graph, stage, side, gate.mapping));
            }
        }
    }
    warnings
}

fn warning(graph: &JobGraph, stage: &StageSpec, side: &SideSpec, mapping: SideMapping) -> Option<String> {
    let (stage, keeper) = (&stage.name, &graph.stage(side.materialize).name);
    let never_fires = side.window_fn == WindowFn::Global && side.contents == SideContents::InTime;
    if never_fires {
        return Some(format!(
            "stage `{stage}` waits for {keeper} until that ends: it is unbounded, in the global window, and fires at its end only; \
             give it a trigger that fires before (and discards), or the windows of the main input"
        ));
    }
    (mapping == SideMapping::Opaque).then(|| {
        format!(
            "stage `{stage}` waits for {keeper} until that ends: it is unbounded, and only the SDK knows which of its windows is \
             read; assign fixed, sliding or global windows to it"
        )
    })
}

#[cfg(test)]
mod tests {
    use purlin_engine::core::stage::{JobGraphBuilder, SideAccess, SideMapping};
    use purlin_model::coder::Coder;
    use purlin_model::time::Millis;
    use purlin_model::window::WindowCoder;

    use super::*;

    fn warned(window_fn: WindowFn, mapping: SideMapping, bounded: bool) -> Vec<String> {
        let mut job = JobGraphBuilder::new();
        let env = job.environment();
        let impulse = job.impulse("impulse");
        let rates = job.worker("rates", env, &[impulse], Coder::Bytes, WindowCoder::Global);
        let side = job.side_input("side input rates", &[rates], SideAccess::Iterable, window_fn);
        if !bounded {
            job.in_time(side);
        }
        let price = job.sink("price", env, &[impulse]);
        job.reads(price, side, mapping);
        let mut graph = job.build();
        graph.outputs.iter_mut().for_each(|output| output.bounded = bounded);
        warnings(&graph)
    }

    #[test]
    fn only_what_may_wait_for_ever_is_told() {
        let fixed = WindowFn::Fixed { size: Millis(10), offset: Millis(0) };
        let [global] = &warned(WindowFn::Global, SideMapping::Default, false)[..] else { panic!("one is told") };
        assert!(global.starts_with("stage `price` waits for side input rates until that ends"), "{global}");
        let [opaque] = &warned(fixed.clone(), SideMapping::Opaque, false)[..] else { panic!("one is told") };
        assert!(opaque.contains("only the SDK knows which of its windows is read"), "{opaque}");
        assert_eq!(warned(fixed, SideMapping::Default, false), [""; 0]);
        assert_eq!(warned(WindowFn::Global, SideMapping::Default, true), [""; 0]);
    }
}
