//! `purlin metrics`: what a job measured.

use std::collections::BTreeMap;

use clap::Args;
use prost::Message;
use purlin_model::coder::varint::read_varint;
use purlin_proto::inspect as inspectpb;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::pipeline::v1::histogram_value::bucket_options::BucketType;
use purlin_proto::urns::monitoring_info_type_urns as kinds;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Execute;
use crate::client::{Client, ServerAddress, block_on};
use crate::exit::{Exit, Failure};
use crate::{profile, terminal};

/// Print the metrics of a job, or where its time goes.
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// The job's id, as `purlin jobs` lists it; the newest job, if it is not given.
    job: Option<String>,
    #[command(flatten)]
    server: ServerAddress,
    /// Also print the metrics that the SDK and the runner keep for themselves.
    #[arg(long)]
    all: bool,
    /// Print, per stage, the runner's own time, the SDK's and what was waited for, what went in, out and to disk, and hot keys.
    #[arg(long, conflicts_with = "all")]
    profile: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One metric, attempted and committed.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Metric {
    urn: String,
    labels: BTreeMap<String, String>,
    committed: Option<Value>,
    attempted: Option<Value>,
}

impl Execute for Metrics {
    fn execute(self) -> Result<Exit, Failure> {
        if self.profile {
            return self.print_profile();
        }
        let metrics = block_on(async {
            let mut client = Client::connect(&self.server).await?;
            let job_id = client.job_or_newest(self.job.as_deref()).await?;
            let response = client.jobs.get_job_metrics(jobpb::GetJobMetricsRequest { job_id }).await;
            response.map_err(|status| client.refused(&status))
        })?;
        let metrics = metrics.into_inner().metrics.unwrap_or_default();
        let metrics: Vec<_> = pair(metrics)
            .into_iter()
            .filter(|metric| self.all || metric.urn.starts_with("beam:metric:user:"))
            .collect();
        if self.json {
            terminal::print_json(&metrics)?;
        } else if metrics.is_empty() {
            terminal::note("This job has no user metrics; --all prints those of the SDK and the runner.");
        } else {
            terminal::print(&show(&metrics))?;
        }
        Ok(Exit::Ok)
    }
}

impl Metrics {
    fn print_profile(&self) -> Result<Exit, Failure> {
        let profile = block_on(async {
            let mut client = Client::connect(&self.server).await?;
            let job_id = client.job_or_newest(self.job.as_deref()).await?;
            let response = client.inspect.get_job_profile(inspectpb::GetJobProfileRequest { job_id }).await;
            response.map_err(|status| client.refused(&status))
        })?;
        let profile = profile.into_inner();
        if self.json {
            terminal::print_json(&profile::to_json(&profile))?;
        } else {
            terminal::print(&profile::show(&profile))?;
        }
        Ok(Exit::Ok)
    }
}

fn pair(metrics: jobpb::MetricResults) -> Vec<Metric> {
    let mut all = BTreeMap::<(String, BTreeMap<String, String>), Metric>::new();
    let mut put = |info: pb::MonitoringInfo, committed: bool| {
        let value = Some(value(&info));
        let key = (info.urn.clone(), info.labels.clone());
        let metric =
            all.entry(key).or_insert_with(|| Metric { urn: info.urn, labels: info.labels, ..Metric::default() });
        *(if committed { &mut metric.committed } else { &mut metric.attempted }) = value;
    };
    metrics.attempted.into_iter().for_each(|info| put(info, false));
    metrics.committed.into_iter().for_each(|info| put(info, true));
    all.into_values().collect()
}

fn show(metrics: &[Metric]) -> String {
    let cell = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), text);
    let rows: Vec<_> = metrics
        .iter()
        .map(|metric| {
            let label = |name: &str| metric.labels.get(name).map(String::as_str);
            let name = match (label("NAMESPACE"), label("NAME")) {
                (Some(namespace), Some(name)) => format!("{namespace}:{name}"),
                _ => metric.urn.clone(),
            };
            let place = label("PTRANSFORM").or_else(|| label("PCOLLECTION")).unwrap_or("-").to_owned();
            vec![name, place, cell(&metric.committed), cell(&metric.attempted)]
        })
        .collect();
    terminal::table(&["METRIC", "TRANSFORM OR PCOLLECTION", "COMMITTED", "ATTEMPTED"], &rows)
}

/// A value for the table.
fn text(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            if let (Some(Value::Array(path)), Some(Value::Bool(truncated))) =
                (fields.get("path"), fields.get("truncated"))
            {
                let more = truncated.then(|| "…".to_owned());
                return path.iter().map(text).chain(more).collect::<Vec<_>>().join("/");
            }
            fields.iter().map(|(name, value)| format!("{name} {}", text(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A payload as JSON: numbers where its kind is known, else its bytes in hexadecimal.
fn value(info: &pb::MonitoringInfo) -> Value {
    read(info).unwrap_or_else(|| {
        let hex: String = info.payload.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "bytes": hex })
    })
}

fn read(info: &pb::MonitoringInfo) -> Option<Value> {
    let mut bytes = &info.payload[..];
    let bytes = &mut bytes;
    Some(match info.r#type.as_str() {
        kinds::SUM_INT64_TYPE => json!(int(bytes)?),
        kinds::SUM_DOUBLE_TYPE => json!(double(bytes)?),
        kinds::LATEST_INT64_TYPE => {
            int(bytes)?;
            json!(int(bytes)?)
        }
        kinds::LATEST_DOUBLE_TYPE => {
            int(bytes)?;
            json!(double(bytes)?)
        }
        kinds::DISTRIBUTION_INT64_TYPE => {
            let count = int(bytes)?;
            if count == 0 {
                return Some(json!({ "count": 0 }));
            }
            json!({ "count": count, "sum": int(bytes)?, "min": int(bytes)?, "max": int(bytes)? })
        }
        kinds::DISTRIBUTION_DOUBLE_TYPE => {
            let count = int(bytes)?;
            if count == 0 {
                return Some(json!({ "count": 0 }));
            }
            json!({ "count": count, "sum": double(bytes)?, "min": double(bytes)?, "max": double(bytes)? })
        }
        kinds::SET_STRING_TYPE => iterable(bytes, |bytes| Some(json!(string(bytes)?)))?,
        kinds::TOP_N_INT64_TYPE | kinds::BOTTOM_N_INT64_TYPE => iterable(bytes, |bytes| Some(json!(int(bytes)?)))?,
        kinds::TOP_N_DOUBLE_TYPE | kinds::BOTTOM_N_DOUBLE_TYPE => iterable(bytes, |bytes| Some(json!(double(bytes)?)))?,
        kinds::BOUNDED_TRIE_TYPE => {
            let trie = pb::BoundedTrie::decode(*bytes).ok()?;
            let mut paths = Vec::new();
            match trie.root {
                Some(root) => flatten(&root, &mut Vec::new(), &mut paths),
                None if trie.singleton.is_empty() => {}
                None => paths.push(json!({ "path": trie.singleton, "truncated": false })),
            }
            Value::Array(paths)
        }
        kinds::HISTOGRAM => histogram(&pb::HistogramValue::decode(*bytes).ok()?),
        _ => return None,
    })
}

fn iterable(bytes: &mut &[u8], read: impl Fn(&mut &[u8]) -> Option<Value>) -> Option<Value> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    (0..i32::from_be_bytes(*count)).map(|_| read(bytes)).collect::<Option<Vec<_>>>().map(Value::Array)
}

/// The paths that a trie tells apart; what comes after a truncated one was forgotten.
fn flatten(node: &pb::BoundedTrieNode, path: &mut Vec<String>, paths: &mut Vec<Value>) {
    if node.truncated || node.children.is_empty() {
        paths.push(json!({ "path": path, "truncated": node.truncated }));
    }
    for (name, child) in &node.children {
        path.push(name.clone());
        flatten(child, path, paths);
        path.pop();
    }
}

fn histogram(histogram: &pb::HistogramValue) -> Value {
    let buckets = match histogram.bucket_options.as_ref().and_then(|options| options.bucket_type.as_ref()) {
        Some(BucketType::Linear(linear)) => {
            json!({ "start": linear.start(), "width": linear.width(), "number": linear.number_of_buckets() })
        }
        Some(BucketType::Exponential(base2)) => json!({ "scale": base2.scale(), "number": base2.number_of_buckets() }),
        None => Value::Null,
    };
    json!({ "count": histogram.count(), "buckets": buckets, "counts": histogram.bucket_counts })
}

fn int(bytes: &mut &[u8]) -> Option<i64> {
    read_varint(bytes).ok()
}

fn double(bytes: &mut &[u8]) -> Option<f64> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(f64::from_be_bytes(*first))
}

fn string(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(int(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: &str, payload: &'static [u8]) -> pb::MonitoringInfo {
        let labels = [("PTRANSFORM", "Split"), ("NAMESPACE", "words"), ("NAME", "seen")];
        pb::MonitoringInfo {
            urn: "beam:metric:user:x:v1".to_owned(),
            r#type: kind.to_owned(),
            payload: payload.into(),
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..pb::MonitoringInfo::default()
        }
    }

    #[test]
    fn payloads_are_read_by_their_kind() {
        assert_eq!(value(&info(kinds::SUM_INT64_TYPE, &[0xac, 2])), json!(300));
        let distribution = json!({ "count": 2, "sum": 10, "min": 3, "max": 7 });
        assert_eq!(value(&info(kinds::DISTRIBUTION_INT64_TYPE, &[2, 10, 3, 7])), distribution);
        assert_eq!(value(&info(kinds::LATEST_INT64_TYPE, &[1, 5])), json!(5));
        assert_eq!(value(&info(kinds::SET_STRING_TYPE, &[0, 0, 0, 1, 1, b'a'])), json!(["a"]));
        assert_eq!(value(&info("beam:metrics:new:v1", &[1, 255])), json!({ "bytes": "01ff" }));
        assert_eq!(value(&info(kinds::SUM_INT64_TYPE, &[0x80])), json!({ "bytes": "80" }));
    }

    #[test]
    fn a_trie_is_shown_as_its_paths() {
        let leaf = |truncated| pb::BoundedTrieNode { truncated, ..pb::BoundedTrieNode::default() };
        let root = pb::BoundedTrieNode {
            children: [("a".to_owned(), leaf(true)), ("b".to_owned(), leaf(false))].into(),
            ..pb::BoundedTrieNode::default()
        };
        let trie = pb::BoundedTrie { bound: 3, root: Some(root), singleton: Vec::new() };
        let mut info = info(kinds::BOUNDED_TRIE_TYPE, &[]);
        info.payload = trie.encode_to_vec().into();
        assert_eq!(text(&value(&info)), "a/…, b");
    }

    #[test]
    fn attempted_and_committed_stand_in_one_row() {
        let metrics = jobpb::MetricResults {
            attempted: vec![info(kinds::SUM_INT64_TYPE, &[9])],
            committed: vec![info(kinds::SUM_INT64_TYPE, &[7])],
        };
        let table = show(&pair(metrics));
        assert!(table.contains("words:seen"), "{table}");
        assert!(table.lines().nth(1).is_some_and(|row| row.contains('7') && row.contains('9')), "{table}");
    }
}
