//! Metrics that workers report: whatever the payloads, the table takes or refuses them, and stays small.

use crate::chance::Chance;
use bytes::Bytes;
use prost::Message;
use purlin_backend::metrics::{MetricKey, MetricTable};
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::monitoring_info_type_urns as kinds;

use crate::mutate_bytes::mutate_bytes;
use crate::target::Broken;

const KINDS: [&str; 16] = [
    kinds::SUM_INT64_TYPE,
    kinds::SUM_DOUBLE_TYPE,
    kinds::DISTRIBUTION_INT64_TYPE,
    kinds::DISTRIBUTION_DOUBLE_TYPE,
    kinds::LATEST_INT64_TYPE,
    kinds::LATEST_DOUBLE_TYPE,
    kinds::TOP_N_INT64_TYPE,
    kinds::TOP_N_DOUBLE_TYPE,
    kinds::BOTTOM_N_INT64_TYPE,
    kinds::BOTTOM_N_DOUBLE_TYPE,
    kinds::SET_STRING_TYPE,
    kinds::BOUNDED_TRIE_TYPE,
    kinds::HISTOGRAM,
    kinds::PROGRESS_TYPE,
    "mine",
    "",
];

pub(crate) fn run(random: &mut Chance) -> Result<(), Broken> {
    let mut table = MetricTable::default();
    let info = any_info(random);
    for _ in 0..=random.below(4) {
        let payload = any_info_of(&info.r#type, random).payload;
        let key = MetricKey {
            urn: info.urn.as_str().into(),
            kind: info.r#type.as_str().into(),
            labels: info.labels.clone().into(),
        };
        if let Err(errors) = table.merge(&vec![(key, payload)])
            && let Some(error) = errors.iter().find(|error| !error.to_string().contains(&info.urn))
        {
            return Err(Broken(format!("a refusal that names no metric: {error}")));
        }
    }
    Ok(())
}

/// A metric of any kind, its payload perhaps damaged.
pub(crate) fn any_info(random: &mut Chance) -> pb::MonitoringInfo {
    let kind = KINDS[random.below(16) as usize];
    any_info_of(kind, random)
}

fn any_info_of(kind: &str, random: &mut Chance) -> pb::MonitoringInfo {
    let mut payload = payload(kind, random);
    if random.percent(40) {
        mutate_bytes(&mut payload, random);
    }
    let labels = [("PTRANSFORM", ["Pair", "gone", ""][random.below(3) as usize]), ("NAME", "n")];
    pb::MonitoringInfo {
        urn: "beam:metric:user:any:v1".to_owned(),
        r#type: kind.to_owned(),
        payload: Bytes::from(payload),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..pb::MonitoringInfo::default()
    }
}

fn payload(kind: &str, random: &mut Chance) -> Vec<u8> {
    match kind {
        kinds::SET_STRING_TYPE => vec![0, 0, 0, 2, 1, b'a', 1, b'a' + random.below(9) as u8],
        kinds::BOUNDED_TRIE_TYPE => {
            let mut node = pb::BoundedTrieNode { truncated: random.percent(10), ..Default::default() };
            for level in 0..random.below(60) {
                let children = (0..=random.below(3)).map(|at| (format!("{level}/{at}"), node.clone()));
                node = if random.percent(90) {
                    pb::BoundedTrieNode { truncated: false, children: children.take(1).collect() }
                } else {
                    pb::BoundedTrieNode { truncated: false, children: children.collect() }
                };
                if node.encoded_len() > 10_000 {
                    break;
                }
            }
            let singleton = (0..random.below(3)).map(|at| at.to_string()).collect();
            let root = random.percent(60).then_some(node);
            pb::BoundedTrie { bound: random.number() as i32 >> random.below(32), root, singleton }.encode_to_vec()
        }
        kinds::HISTOGRAM => pb::HistogramValue {
            count: Some(random.number() as i64),
            bucket_options: None,
            bucket_counts: (0..random.below(6)).map(|_| random.number() as i64).collect(),
        }
        .encode_to_vec(),
        kinds::TOP_N_DOUBLE_TYPE | kinds::BOTTOM_N_DOUBLE_TYPE => {
            let mut bytes = vec![0, 0, 0, 1];
            bytes.extend(random.number().to_be_bytes());
            bytes
        }
        kinds::SUM_DOUBLE_TYPE => random.number().to_be_bytes().to_vec(),
        kinds::DISTRIBUTION_DOUBLE_TYPE => {
            let mut bytes = vec![2];
            (0..3).for_each(|_| bytes.extend(random.number().to_be_bytes()));
            bytes
        }
        _ => (0..4).map(|_| random.below(128) as u8).collect(),
    }
}
