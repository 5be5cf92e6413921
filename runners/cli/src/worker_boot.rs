//! Becoming a worker: what the boot programs of SDK containers do, for what is installed on this machine.
//!
//! ```text
//!   server ─starts──► purlin --id=ID --provision_endpoint=HOST:PORT      (PURLIN_WORKER_PYTHON or one of its like, PURLIN_WORKER_FOLDER)
//!          ◄─asks──── GetProvisionInfo: options, endpoints, which files
//!          ◄─fetches─ GetArtifact, into a temporary folder
//!                     python -m apache_beam.runners.worker.sdk_worker_main, or
//!                     java -cp (what was staged) org.apache.beam.fn.harness.FnHarness, or
//!                     the Go program that was staged, until it ends
//! ```
//! Installs nothing: a worker runs with what the interpreter has, or with what its pipeline brought along.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
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

/// Names the Java program to a boot program.
pub(crate) const WORKER_JAVA: &str = "PURLIN_WORKER_JAVA";

/// Tells a boot program, by any value, that its worker is the Go program that is staged.
pub(crate) const WORKER_GO: &str = "PURLIN_WORKER_GO";

/// The module of Beam's harness in Python.
const PYTHON_HARNESS: &str = "apache_beam.runners.worker.sdk_worker_main";

/// The class of Beam's harness in Java.
const JAVA_HARNESS: &str = "org.apache.beam.fn.harness.FnHarness";

/// The name under which Go stages its program, if that is not all that it stages.
const GO_PROGRAM: &str = "worker";

/// What stands first on the command line of a boot program, and of no command of ours.
const ID: &str = "--id=";

/// How staged files end that a container would install.
const PACKAGES: [&str; 5] = [".whl", ".tar.gz", ".zip", "requirements.txt", "extra_packages.txt"];

/// What a worker is told by whoever starts it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Boot {
    id: String,
    provision_endpoint: String,
    harness: Harness,
    folder: Option<PathBuf>,
}

/// What a worker runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Harness {
    /// Beam's harness in this interpreter.
    Python(PathBuf),
    /// Beam's harness among the staged jars, by this Java.
    Java(PathBuf),
    /// The staged program.
    Go,
}

/// What was learnt of a worker's job, and the files that were fetched for it, in their order.
#[derive(Debug)]
struct Provision {
    info: fnpb::ProvisionInfo,
    files: Vec<PathBuf>,
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
    #[error("`{program}` cannot be run: {source}; is it there, and executable?")]
    Program { program: PathBuf, source: io::Error },
    #[error("its pipeline staged no Go program; name the pipeline's own with --worker_binary")]
    NoProgram,
    #[error("cannot write the files of this worker: {0}")]
    Write(#[from] io::Error),
}

impl Boot {
    /// What to become, if this program was called to become a worker.
    pub(crate) fn asked_for() -> Option<Self> {
        let python = std::env::var_os(WORKER_PYTHON).map(|python| Harness::Python(python.into()));
        let java = || std::env::var_os(WORKER_JAVA).map(|java| Harness::Java(java.into()));
        let harness = python.or_else(java).or_else(|| std::env::var_os(WORKER_GO).map(|_| Harness::Go))?;
        Self::from_parts(std::env::args().skip(1), harness, std::env::var_os(WORKER_FOLDER))
    }

    fn from_parts(
        arguments: impl IntoIterator<Item = String>,
        harness: Harness,
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
        Some(Self { id, provision_endpoint, harness, folder: folder.map(Into::into) })
    }

    /// Runs the worker to its end.
    pub(crate) fn run(self) -> ExitCode {
        match self.work() {
            Ok(code) => code,
            Err(error) => {
                terminal::complain(&format!("cannot become worker `{}`: {error}", self.id));
                ExitCode::FAILURE
            }
        }
    }

    fn work(&self) -> Result<ExitCode, BootError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let place = tempfile::Builder::new().prefix("purlin-worker-").tempdir()?;
        runtime.block_on(async {
            let provision = self.fetch(place.path()).await?;
            // The signal goes to the whole group. The worker ends by it, and this process cleans up behind the worker.
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            let (program, arguments) = self.program(&provision, place.path())?;
            let mut command = tokio::process::Command::new(&program);
            command.args(arguments).envs(self.variables(&provision.info, place.path())?).kill_on_drop(true);
            if let Some(folder) = &self.folder {
                command.current_dir(folder);
            }
            let failed = |source| BootError::Program { program, source };
            let mut child = command.spawn().map_err(failed)?;
            let status = tokio::select! {
                status = child.wait() => status?,
                _ = terminate.recv() => child.wait().await?,
            };
            Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
        })
    }

    /// What to run, and with which arguments.
    fn program(&self, provision: &Provision, place: &Path) -> Result<(PathBuf, Vec<OsString>), BootError> {
        let Provision { info, files } = provision;
        Ok(match &self.harness {
            Harness::Python(python) => (python.clone(), vec!["-m".into(), PYTHON_HARNESS.into()]),
            Harness::Java(java) => {
                // No path of ours has a colon: the folder is a temporary one, and names are plain.
                let class_path = std::env::join_paths(files).map_err(io::Error::other)?;
                (java.clone(), vec!["-cp".into(), class_path, JAVA_HARNESS.into()])
            }
            Harness::Go => {
                let named = |file: &&PathBuf| file.file_name().is_some_and(|name| name == GO_PROGRAM);
                let only = if files.len() == 1 { files.first() } else { None };
                let program = only.or_else(|| files.iter().find(named)).ok_or(BootError::NoProgram)?;
                std::fs::set_permissions(program, PermissionsExt::from_mode(0o700))?;
                let flag = |name: &str, value: &OsStr| {
                    let mut flag = OsString::from(format!("--{name}="));
                    flag.push(value);
                    flag
                };
                let control =
                    info.control_endpoint.as_ref().ok_or(BootError::Untold("where its control service is"))?;
                let logging = info.logging_endpoint.as_ref().ok_or(BootError::Untold("where its log goes"))?;
                let arguments = vec![
                    "--worker=true".into(),
                    flag("id", self.id.as_ref()),
                    flag("control_endpoint", control.url.as_ref()),
                    flag("logging_endpoint", logging.url.as_ref()),
                    flag("semi_persist_dir", place.as_ref()),
                ];
                (program.clone(), arguments)
            }
        })
    }

    /// Asks what there is to know, and fetches what there is to fetch into `place/staged`.
    async fn fetch(&self, place: &Path) -> Result<Provision, BootError> {
        if self.provision_endpoint.is_empty() {
            return Err(BootError::Argument("--provision_endpoint=HOST:PORT"));
        }
        let id = MetadataValue::<Ascii>::try_from(&self.id).map_err(|_| BootError::Argument("a plain --id=ID"))?;
        let mut service = ProvisionServiceClient::new(connect(&self.provision_endpoint).await?)
            .max_decoding_message_size(MESSAGE_SIZE_MAX);
        let request = named(fnpb::GetProvisionInfoRequest {}, &id);
        let answer = service.get_provision_info(request).await.map_err(refused("GetProvisionInfo"))?;
        let info = answer.into_inner().info.ok_or(BootError::Untold("what this worker is for"))?;
        let mut files = Vec::new();
        if !info.dependencies.is_empty() {
            let staged = place.join("staged");
            std::fs::create_dir(&staged)?;
            files = self.fetch_files(&info, &id, &staged).await?;
        }
        Ok(Provision { info, files })
    }

    async fn fetch_files(
        &self,
        info: &fnpb::ProvisionInfo,
        id: &MetadataValue<Ascii>,
        staged: &Path,
    ) -> Result<Vec<PathBuf>, BootError> {
        let endpoint = info.artifact_endpoint.as_ref().ok_or(BootError::Untold("where its files are"))?;
        let mut service = ArtifactRetrievalServiceClient::new(connect(&endpoint.url).await?)
            .max_decoding_message_size(MESSAGE_SIZE_MAX);
        let artifacts = info.dependencies.clone();
        let request = named(jobpb::ResolveArtifactsRequest { artifacts, preferred_urns: Vec::new() }, id);
        let resolved = service.resolve_artifacts(request).await.map_err(refused("ResolveArtifacts"))?;
        let mut files = Vec::new();
        for (position, artifact) in resolved.into_inner().replacements.into_iter().enumerate() {
            let name = staged_name(&artifact, position)?;
            let installed = matches!(self.harness, Harness::Python(_));
            if installed && PACKAGES.iter().any(|ending| name.ends_with(ending)) {
                terminal::note(&format!("{name} was staged but is not installed: this worker installs nothing"));
            }
            let path = staged.join(&name);
            let mut file = std::fs::File::create_new(&path)?;
            let request = named(jobpb::GetArtifactRequest { artifact: Some(artifact) }, id);
            let mut chunks = service.get_artifact(request).await.map_err(refused("GetArtifact"))?.into_inner();
            while let Some(chunk) = chunks.message().await.map_err(refused("GetArtifact"))? {
                file.write_all(&chunk.data)?;
            }
            files.push(path);
        }
        Ok(files)
    }

    /// The variables from which Beam's harness learns what it must know.
    fn variables(&self, info: &fnpb::ProvisionInfo, place: &Path) -> Result<Vec<(&'static str, OsString)>, BootError> {
        let options = place.join("pipeline_options.json");
        std::fs::write(&options, struct_to_json(&info.pipeline_options.clone().unwrap_or_default()).to_string())?;
        let control = info.control_endpoint.as_ref().ok_or(BootError::Untold("where its control service is"))?;
        let told = |name: &str| OsString::from(info.metadata.get(name).map(String::as_str).unwrap_or_default());
        let mut variables = vec![
            ("WORKER_ID", self.id.clone().into()),
            // So Java calls it.
            ("HARNESS_ID", self.id.clone().into()),
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
        // So Go reads it.
        variables
            .extend(info.status_endpoint.as_ref().map(|endpoint| ("STATUS_ENDPOINT", endpoint.url.clone().into())));
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
        let harness = Harness::Python("/bin/python".into());
        Boot::from_parts(arguments.iter().map(|word| (*word).to_owned()), harness, Some("/jobs".into()))
    }

    #[test]
    fn only_what_servers_say_makes_a_worker() {
        let boot = Boot {
            id: "w 1".to_owned(),
            provision_endpoint: "localhost:1".to_owned(),
            harness: Harness::Python("/bin/python".into()),
            folder: Some("/jobs".into()),
        };
        assert_eq!(asked(&["--id=w 1", "--logging_endpoint=x", "--provision_endpoint=localhost:1"]), Some(boot));
        assert_eq!(asked(&["run", "--id=w"]), None);
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn each_sdk_has_its_own_program() {
        let at = |url: &str| Some(pb::ApiServiceDescriptor { url: url.to_owned(), authentication: None });
        let told = |harness, files: &[&Path]| {
            let info = fnpb::ProvisionInfo {
                control_endpoint: at("localhost:1"),
                logging_endpoint: at("localhost:2"),
                ..fnpb::ProvisionInfo::default()
            };
            let boot = Boot { id: "w".to_owned(), provision_endpoint: String::new(), harness, folder: None };
            let files = files.iter().map(|file| file.to_path_buf()).collect();
            let (program, arguments) = boot.program(&Provision { info, files }, Path::new("/place")).ok()?;
            let words = std::iter::once(program.into_os_string()).chain(arguments);
            Some(words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "))
        };
        let (a, b) = (Path::new("/s/a.jar"), Path::new("/s/b.jar"));
        let java = told(Harness::Java("java".into()), &[b, a]).unwrap();
        assert_eq!(java, "java -cp /s/b.jar:/s/a.jar org.apache.beam.fn.harness.FnHarness");
        let folder = tempfile::tempdir().unwrap();
        let worker = folder.path().join("worker");
        std::fs::write(&worker, "").unwrap();
        let rest = "--worker=true --id=w --control_endpoint=localhost:1 --logging_endpoint=localhost:2 --semi_persist_dir=/place";
        for files in [&[&*worker][..], &[a, &*worker, b]] {
            assert_eq!(told(Harness::Go, files).unwrap(), format!("{} {rest}", worker.display()));
        }
        for files in [&[][..], &[a, b]] {
            assert_eq!(told(Harness::Go, files), None);
        }
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
