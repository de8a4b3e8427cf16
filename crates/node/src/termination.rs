//! What a container says of its end: the file at its `terminationMessagePath`, or its last lines.
//!
//! The file is the node's, mounted into the container, so that it can be read once nothing of the
//! container is left.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Container;

use crate::{
    logs,
    spec::{Access, MountSpec},
};

/// The file into which one instance of a container writes why it ends.
#[derive(Debug)]
pub(crate) struct TerminationMessage {
    file: PathBuf,
    target: PathBuf,
    falls_back: bool,
}

impl TerminationMessage {
    /// An empty file that any user of the container may write.
    pub(crate) fn create(pod_directory: &Path, container: &Container) -> io::Result<Self> {
        let directory = pod_directory.join("termination");
        fs::create_dir_all(&directory)?;
        let file = directory.join(&container.name);
        fs::write(&file, "")?;
        fs::set_permissions(&file, Permissions::from_mode(0o666))?;
        let target = container.termination_message_path.as_deref();
        let target = target.filter(|path| !path.is_empty()).unwrap_or("/dev/termination-log");
        let policy = container.termination_message_policy.as_deref();
        Ok(Self {
            file,
            target: target.into(),
            falls_back: policy == Some("FallbackToLogsOnError"),
        })
    }

    /// Where the container finds it; nowhere if that is in one of its volumes, whose content is
    /// the container's own and nothing for the node to follow links in.
    pub(crate) fn mount_beside(&self, volumes: &[MountSpec]) -> Option<MountSpec> {
        let is_hidden = volumes.iter().any(|volume| self.target.starts_with(&volume.target));
        (!is_hidden).then(|| MountSpec {
            source: self.file.clone(),
            sub_path: None,
            target: self.target.clone(),
            access: Access::ReadWrite,
        })
    }

    /// What was said; `log` is that of the instance.
    pub(crate) fn read(&self, exit_code: i32, log: &Path) -> Option<String> {
        let said = tail(&self.file, MOST).unwrap_or_default();
        let said = if said.is_empty() && self.falls_back && exit_code != 0 {
            logs::last_words(log).unwrap_or_default()
        } else {
            said
        };
        (!said.is_empty()).then(|| String::from_utf8_lossy(&said).into_owned())
    }
}

fn tail(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text)?;
    Ok(text)
}

/// Kubelet's most.
const MOST: u64 = 4096;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::logs::{LogDirectory, Stream};

    fn message(directory: &Path, more: &serde_json::Value) -> TerminationMessage {
        let mut container = json!({"name": "c"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        TerminationMessage::create(directory, &serde_json::from_value(container).unwrap()).unwrap()
    }

    #[test]
    fn a_message_is_the_end_of_the_file_or_else_of_the_log_after_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let logs = LogDirectory::new(directory.path(), ("ns", "pod", "uid"), "c");
        let mut log = logs.begin(0).unwrap();
        for number in 0..100 {
            log.write(Stream::Err, format!("line {number}\n").as_bytes());
        }
        log.finish();
        let last: String = (20..100).map(|number| format!("line {number}\n")).collect();
        let falls_back = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
        let (long, end) = ("a".repeat(5000), "a".repeat(4096));
        for (policy, written, code, expected) in [
            (json!({}), "", 1, None),
            (json!({}), "why", 0, Some("why")),
            (json!({}), &long, 1, Some(end.as_str())),
            (falls_back.clone(), "", 0, None),
            (falls_back.clone(), "", 1, Some(last.as_str())),
            (falls_back, "why", 1, Some("why")),
        ] {
            let message = message(directory.path(), &policy);
            fs::write(&message.file, written).unwrap();
            assert_eq!(message.read(code, &logs.file(0)).as_deref(), expected, "{code}");
        }
    }

    #[test]
    fn the_file_is_not_put_into_a_volume() {
        let directory = tempfile::tempdir().unwrap();
        let volume = |target: &str| MountSpec {
            source: "/v".into(),
            sub_path: None,
            target: target.into(),
            access: Access::ReadWrite,
        };
        let default = message(directory.path(), &json!({}));
        let target = default.mount_beside(&[volume("/dev/x")]).unwrap().target;
        assert_eq!(target, Path::new("/dev/termination-log"));
        let own = message(directory.path(), &json!({"terminationMessagePath": "/data/why"}));
        assert!(own.mount_beside(&[volume("/dat")]).is_some());
        assert_eq!(own.mount_beside(&[volume("/data")]), None);
    }
}
