//! Becoming a worker: what the boot programs of SDK containers do, for an interpreter of this machine.
//!
//! ```text
//!   server ─starts──► purlin --id=ID --provision_endpoint=HOST:PORT      (PURLIN_WORKER_PYTHON, PURLIN_WORKER_FOLDER)
//!          ◄─asks──── GetProvisionInfo: options, endpoints, which files
//!          ◄─fetches─ GetArtifact, into a temporary folder
//!                     python -m apache_beam.runners.worker.sdk_worker_main, until it ends
//! ```
//! Installs nothing: the worker runs with what the interpreter has.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use prost::Message;
use purlin_fn_api::{WORKER_FOLDER, WORKER_PYTHON};
use purlin_job_server::{MESSAGE_SIZE_MAX, struct_to_json};
use purlin_proto::fn_execution::v1 as fnpb;
use purlin_proto::fn_execution::v1::provision_service_client::ProvisionServiceClient;
use purlin_proto::job_management::v1 as jobpb;
use purlin_proto::job_management::v1::artifact_retrieval_service_client::ArtifactRetrievalServiceClient;
use purlin_proto::pipeline::v1 as pb;
use purlin_proto::urns::standard_artifacts::roles::STAGING_TO;
use thiserror::Error;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::terminal;

/// The module of Beam's harness.
const HARNESS: &str = "apache_beam.runners.worker.sdk_worker_main";

/// What stands first on the command line of a boot program, and of no command of ours.
const ID: &str = "--id=";

/// How staged files end that a container would install.
const PACKAGES: [&str; 5] = [".whl", ".tar.gz", ".zip", "requirements.txt", "extra_packages.txt"];

/// What a worker is told by whoever starts it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Boot {
    id: String,
    provision_endpoint: String,
    python: PathBuf,
    folder: Option<PathBuf>,
}

#[derive(Debug, Error)]
enum BootError {
    #[error("{0} is missing on the command line")]
    Argument(&'static str),
    #[error("the server at {address} cannot be reached: {source}")]
    Unreachable { address: String, source: tonic::transport::Error },
    #[error("the server refused {call}: {status}")]
    Refused { call: &'static str, status: Box<tonic::Status> },
    #[error("the server does not say {0}")]
    Untold(&'static str),
    #[error("a file of the pipeline wants to be staged as {name:?}, which is no plain file name")]
    Name { name: String },
    #[error("`{python}` cannot be run: {source}; is it there, and executable?")]
    Python { python: PathBuf, source: io::Error },
    #[error("cannot write the files of this worker: {0}")]
    Write(#[from] io::Error),
}

impl Boot {
    /// What to become, if this program was called to become a worker.
    pub(crate) fn asked_for() -> Option<Self> {
        let python = std::env::var_os(WORKER_PYTHON)?;
        Self::from_parts(std::env::args().skip(1), python, std::env::var_os(WORKER_FOLDER))
    }

    fn from_parts(
        arguments: impl IntoIterator<Item = String>,
        python: OsString,
        folder: Option<OsString>,
    ) -> Option<Self> {
        let arguments: Vec<String> = arguments.into_iter().collect();
        // A pipeline's own code may call us in a worker's environment, and means our commands.
        if !arguments.first()?.starts_with("--") {
            return None;
        }
        // Some runners also say where the other services are, which provisioning tells as well.
        let value = |flag| arguments.iter().find_map(|argument| Some(argument.strip_prefix(flag)?.to_owned()));
        let id = value(ID)?;
        let provision_endpoint = value("--provision_endpoint=").unwrap_or_default();
        Some(Self { id, provision_endpoint, python: python.into(), folder: folder.map(Into::into) })
    }

    /// Runs the worker to its end.
    pub(crate) fn run(self) -> ExitCode {
        match self.harness() {
            Ok(code) => code,
            Err(error) => {
                terminal::complain(&format!("cannot become worker `{}`: {error}", self.id));
                ExitCode::FAILURE
            }
        }
    }

    fn harness(&self) -> Result<ExitCode, BootError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let place = tempfile::Builder::new().prefix("purlin-worker-").tempdir()?;
        runtime.block_on(async {
            let info = self.fetch(place.path()).await?;
            // The signal goes to the whole group. The worker ends by it, and this process cleans up behind the worker.
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            let mut command = tokio::process::Command::new(&self.python);
            command.args(["-m", HARNESS]).envs(self.variables(&info, place.path())?).kill_on_drop(true);
            if let Some(folder) = &self.folder {
                command.current_dir(folder);
            }
            let failed = |source| BootError::Python { python: self.python.clone(), source };
            let mut child = command.spawn().map_err(failed)?;
            let status = tokio::select! {
                status = child.wait() => status?,
                _ = terminate.recv() => child.wait().await?,
            };
            Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
        })
    }

    /// Asks what there is to know, and fetches what there is to fetch into `place/staged`.
    async fn fetch(&self, place: &Path) -> Result<fnpb::ProvisionInfo, BootError> {
        if self.provision_endpoint.is_empty() {
            return Err(BootError::Argument("--provision_endpoint=HOST:PORT"));
        }
        let id = MetadataValue::<Ascii>::try_from(&self.id).map_err(|_| BootError::Argument("a plain --id=ID"))?;
        let mut service = ProvisionServiceClient::new(connect(&self.provision_endpoint).await?)
            .max_decoding_message_size(MESSAGE_SIZE_MAX);
        let request = named(fnpb::GetProvisionInfoRequest {}, &id);
        let answer = service.get_provision_info(request).await.map_err(refused("GetProvisionInfo"))?;
        let info = answer.into_inner().info.ok_or(BootError::Untold("what this worker is for"))?;
        if !info.dependencies.is_empty() {
            let staged = place.join("staged");
            std::fs::create_dir(&staged)?;
            self.fetch_files(&info, &id, &staged).await?;
        }
        Ok(info)
    }

    async fn fetch_files(
        &self,
        info: &fnpb::ProvisionInfo,
        id: &MetadataValue<Ascii>,
        staged: &Path,
    ) -> Result<(), BootError> {
        let endpoint = info.artifact_endpoint.as_ref().ok_or(BootError::Untold("where its files are"))?;
        let mut service = ArtifactRetrievalServiceClient::new(connect(&endpoint.url).await?)
            .max_decoding_message_size(MESSAGE_SIZE_MAX);
        let artifacts = info.dependencies.clone();
        let request = named(jobpb::ResolveArtifactsRequest { artifacts, preferred_urns: Vec::new() }, id);
        let resolved = service.resolve_artifacts(request).await.map_err(refused("ResolveArtifacts"))?;
        for (position, artifact) in resolved.into_inner().replacements.into_iter().enumerate() {
            let name = staged_name(&artifact, position)?;
            if PACKAGES.iter().any(|ending| name.ends_with(ending)) {
                terminal::note(&format!("{name} was staged but is not installed: this worker installs nothing"));
            }
            let mut file = std::fs::File::create_new(staged.join(&name))?;
            let request = named(jobpb::GetArtifactRequest { artifact: Some(artifact) }, id);
            let mut chunks = service.get_artifact(request).await.map_err(refused("GetArtifact"))?.into_inner();
            while let Some(chunk) = chunks.message().await.map_err(refused("GetArtifact"))? {
                file.write_all(&chunk.data)?;
            }
        }
        Ok(())
    }

    /// The variables from which Beam's harness learns what it must know.
    fn variables(&self, info: &fnpb::ProvisionInfo, place: &Path) -> Result<Vec<(&'static str, OsString)>, BootError> {
        let options = place.join("pipeline_options.json");
        std::fs::write(&options, struct_to_json(&info.pipeline_options.clone().unwrap_or_default()).to_string())?;
        let control = info.control_endpoint.as_ref().ok_or(BootError::Untold("where its control service is"))?;
        let told = |name: &str| OsString::from(info.metadata.get(name).map(String::as_str).unwrap_or_default());
        let mut variables = vec![
            ("WORKER_ID", self.id.clone().into()),
            ("SEMI_PERSISTENT_DIRECTORY", place.into()),
            ("PIPELINE_OPTIONS_FILE", options.into()),
            ("RUNNER_CAPABILITIES", info.runner_capabilities.join(" ").into()),
            ("CONTROL_API_SERVICE_DESCRIPTOR", text_format(control)),
            ("JOB_ID", told("job_id")),
            ("JOB_NAME", told("job_name")),
        ];
        let optional = [
            ("LOGGING_API_SERVICE_DESCRIPTOR", &info.logging_endpoint),
            ("STATUS_API_SERVICE_DESCRIPTOR", &info.status_endpoint),
        ];
        for (name, endpoint) in optional {
            variables.extend(endpoint.as_ref().map(|endpoint| (name, text_format(endpoint))));
        }
        Ok(variables)
    }
}

async fn connect(address: &str) -> Result<Channel, BootError> {
    let unreachable = |source| BootError::Unreachable { address: address.to_owned(), source };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
    endpoint.connect().await.map_err(unreachable)
}

/// Every call says which worker it comes from.
fn named<T>(message: T, id: &MetadataValue<Ascii>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("worker_id", id.clone());
    request
}

fn refused(call: &'static str) -> impl Fn(tonic::Status) -> BootError {
    move |status| BootError::Refused { call, status: Box::new(status) }
}

/// The name under which the pipeline expects a file. Never a path: what comes over the wire may not choose where it is
/// written.
fn staged_name(artifact: &pb::ArtifactInformation, position: usize) -> Result<String, BootError> {
    if artifact.role_urn != STAGING_TO {
        return Ok(format!("artifact-{position}"));
    }
    let role = pb::ArtifactStagingToRolePayload::decode(artifact.role_payload.clone()).unwrap_or_default();
    let name = role.staged_name;
    let is_plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
    if is_plain { Ok(name) } else { Err(BootError::Name { name }) }
}

/// An `ApiServiceDescriptor` in the text format of protocol buffers, as harnesses read it.
fn text_format(endpoint: &pb::ApiServiceDescriptor) -> OsString {
    format!("url: \"{}\"", endpoint.url.replace('\\', "\\\\").replace('"', "\\\"")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Option<Boot> {
        Boot::from_parts(arguments.iter().map(|word| (*word).to_owned()), "/bin/python".into(), Some("/jobs".into()))
    }

    #[test]
    fn only_what_servers_say_makes_a_worker() {
        let boot = Boot {
            id: "w 1".to_owned(),
            provision_endpoint: "localhost:1".to_owned(),
            python: "/bin/python".into(),
            folder: Some("/jobs".into()),
        };
        assert_eq!(asked(&["--id=w 1", "--logging_endpoint=x", "--provision_endpoint=localhost:1"]), Some(boot));
        assert_eq!(asked(&["run", "--id=w"]), None);
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn files_are_staged_under_plain_names_only() {
        let named = |name: &str| {
            let role = pb::ArtifactStagingToRolePayload { staged_name: name.to_owned() };
            let artifact = pb::ArtifactInformation {
                role_urn: STAGING_TO.to_owned(),
                role_payload: role.encode_to_vec().into(),
                ..pb::ArtifactInformation::default()
            };
            staged_name(&artifact, 3)
        };
        assert!(matches!(named("main.pickle").as_deref(), Ok("main.pickle")));
        for name in ["", ".", "..", "../x", "/etc/passwd", "a\\b", "a\0b"] {
            assert!(named(name).is_err(), "{name:?}");
        }
        assert!(matches!(staged_name(&pb::ArtifactInformation::default(), 3).as_deref(), Ok("artifact-3")));
    }

    #[test]
    fn endpoints_are_quoted() {
        let endpoint = pb::ApiServiceDescriptor { url: "a\"b\\".to_owned(), authentication: None };
        assert_eq!(text_format(&endpoint), r#"url: "a\"b\\""#);
    }
}
