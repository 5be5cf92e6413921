//! Every URN and constant that Beam writes into its interface definitions, so that nobody types one by hand.
//!
//! ```text
//!   enum org.apache.beam.model.pipeline.v1.StandardPTransforms.Primitives, value PAR_DO
//!     ──► urns::standard_ptransforms::primitives::PAR_DO
//! ```
//!
//! **Where to find one.** Take the enum's name without the package, each part in snake case (an underscore only where
//! lower case turns into upper case); a last part that says only `Enum` is left out; the value keeps its name.
//!
//! | in Beam | here |
//! |---|---|
//! | `StandardPTransforms.Primitives.PAR_DO` | [`standard_ptransforms::primitives::PAR_DO`] |
//! | `StandardCoders.Enum.KV` | [`standard_coders::KV`] |
//! | `FixedWindowsPayload.Enum.PROPERTIES` | [`fixed_windows_payload::PROPERTIES`] |
//! | `BeamConstants.Constants.MIN_TIMESTAMP_MILLIS` | [`beam_constants::constants::MIN_TIMESTAMP_MILLIS`] |
//! | `MonitoringInfoSpecs.Enum.ELEMENT_COUNT` | [`monitoring_info_specs::ELEMENT_COUNT`] |
//! | `MonitoringInfo.MonitoringInfoLabels.TRANSFORM` | [`monitoring_info::monitoring_info_labels::TRANSFORM`] |
//!
//! **What stands there.** `beam_urn` and `label_props` give a `&str`; `beam_constant` gives an `i64` where it is a whole
//! number, else a `&str`; `monitoring_info_spec` gives a [`MonitoringInfoSpec`]. The table is made at build time from the
//! same descriptors as the messages.
//!
//! Does not know URNs that SDKs use without declaring them in the interface.

/// What Beam prescribes for one kind of metric: the enum values of `MonitoringInfoSpecs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitoringInfoSpec {
    /// `MonitoringInfo.urn`: what is measured.
    pub urn: &'static str,
    /// `MonitoringInfo.type`: how the payload is encoded and combined.
    pub type_urn: &'static str,
    /// The keys that `MonitoringInfo.labels` must hold.
    pub required_labels: &'static [&'static str],
}

include!(concat!(env!("OUT_DIR"), "/urns.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_kinds_of_option_stand_where_the_rule_says() {
        assert_eq!(standard_ptransforms::primitives::PAR_DO, "beam:transform:pardo:v1");
        assert_eq!(standard_coders::KV, "beam:coder:kv:v1");
        assert_eq!(sliding_windows_payload::PROPERTIES, "beam:window_fn:sliding_windows:v1");
        assert_eq!(fn_api_transforms::runner::DATA_SOURCE, "beam:runner:source:v1");
        assert_eq!(annotations::CONFIG_ROW_KEY, "config_row");
        assert_eq!(beam_constants::constants::MAX_TIMESTAMP_MILLIS, 9_223_372_036_854_775);
        assert_eq!(monitoring_info::monitoring_info_labels::TRANSFORM, "PTRANSFORM");
        let user_counter = MonitoringInfoSpec {
            urn: "beam:metric:user:sum_int64:v1",
            type_urn: monitoring_info_type_urns::SUM_INT64_TYPE,
            required_labels: &["PTRANSFORM", "NAMESPACE", "NAME"],
        };
        assert_eq!(monitoring_info_specs::USER_SUM_INT64, user_counter);
    }
}
