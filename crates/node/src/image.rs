//! What runs for an image. There is no registry: well-known demo images have equivalents built
//! into the palisade program, tool boxes use the programs of this machine, and everything else is
//! refused with the ways out.

use crate::spec::PROGRAM;

/// What an image stands for here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Resolved {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The user that the image says it runs as.
    pub user: u32,
    /// For `imageID` in the status.
    pub id: &'static str,
}

/// An image that nothing here stands for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "image \"{image}\" is not available: one machine has no registry. Ways out: use an image \
     that is built in ({}), name a program of this machine in the annotation \
     palisade.dev/command, or run on Kubernetes",
    names()
)]
pub(crate) struct UnknownImage {
    image: String,
}

/// What a pod says about a container's program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// `image`.
    pub image: &'a str,
    /// `command`, which replaces the image's entry point.
    pub command: &'a [String],
    /// `args`, which replace the image's own arguments.
    pub args: &'a [String],
    /// The annotation `palisade.dev/command`: a JSON array, or a line for the shell.
    pub override_with: Option<&'a str>,
}

/// What to run.
pub(crate) fn resolve(wanted: Wanted<'_>) -> Result<Resolved, UnknownImage> {
    if let Some(line) = wanted.override_with {
        let command = serde_json::from_str(line)
            .unwrap_or_else(|_| vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()]);
        return Ok(Resolved { command, user: NOBODY, id: "palisade.dev/command" });
    }
    let name = repository(wanted.image);
    let Some(image) = IMAGES.iter().find(|image| image.matches(name)) else {
        return Err(UnknownImage { image: wanted.image.to_owned() });
    };
    let command = if wanted.command.is_empty() {
        image.default_command(wanted.args)
    } else {
        image.own_program(wanted.command.iter().chain(wanted.args).cloned().collect())
    };
    Ok(Resolved { command, user: image.user, id: image.id })
}

struct Image {
    /// Repositories, without registry and tag; a trailing `*` stands for any rest.
    repositories: &'static [&'static str],
    id: &'static str,
    user: u32,
    entry: Entry,
}

/// What runs when the pod names no command.
enum Entry {
    /// A subcommand of the palisade program; the name that the real image's program has.
    BuiltIn { name: &'static str, program: &'static str },
    /// The palisade program itself, with these arguments if there are none.
    Palisade(&'static [&'static str]),
    /// A server unless there are arguments, which then are a command.
    ServerOrCommand(&'static str),
    /// A program of this machine: arguments that begin with a dash are for it, others a command.
    HostProgram(&'static str),
}

impl Image {
    fn matches(&self, name: &str) -> bool {
        self.repositories.iter().any(|repository| match repository.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *repository,
        })
    }

    fn default_command(&self, args: &[String]) -> Vec<String> {
        let with_args =
            |first: Vec<String>| first.into_iter().chain(args.iter().cloned()).collect();
        match self.entry {
            Entry::BuiltIn { name, .. } => with_args(built_in(name)),
            Entry::Palisade(default) if args.is_empty() => {
                std::iter::once(PROGRAM).chain(default.iter().copied()).map(str::to_owned).collect()
            }
            Entry::Palisade(_) => with_args(vec![PROGRAM.to_owned()]),
            Entry::ServerOrCommand(name) if args.is_empty() => built_in(name),
            Entry::HostProgram(program)
                if args.first().is_none_or(|argument| argument.starts_with('-')) =>
            {
                with_args(vec![program.to_owned()])
            }
            Entry::ServerOrCommand(_) | Entry::HostProgram(_) => args.to_vec(),
        }
    }

    /// A command that names the real image's own program means the one built in.
    fn own_program(&self, command: Vec<String>) -> Vec<String> {
        let Entry::BuiltIn { name, program } = self.entry else { return command };
        match command.split_first() {
            Some((first, rest)) if first.trim_start_matches('/') == program => {
                built_in(name).into_iter().chain(rest.iter().cloned()).collect()
            }
            _ => command,
        }
    }
}

fn built_in(name: &str) -> Vec<String> {
    [PROGRAM, "internal", "image", name].map(str::to_owned).into()
}

/// The image's name without registry, tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let name = ["docker.io/", "index.docker.io/", "ghcr.io/", "quay.io/", "localhost/"]
        .iter()
        .find_map(|registry| name.strip_prefix(registry))
        .unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

fn names() -> String {
    let known = IMAGES.iter().filter(|image| !matches!(image.entry, Entry::Palisade(_)));
    let names: Vec<_> = known.filter_map(|image| image.repositories.first()).copied().collect();
    names.join(", ")
}

/// Who containers run as when neither pod nor image says, or says root: the host's files that
/// only root may read stay unread.
pub(crate) const NOBODY: u32 = 65534;

/// Image id of the sidecar.
pub(crate) const PROXY: &str = "palisade.dev/proxy";

const IMAGES: [Image; 6] = [
    Image {
        repositories: &["mendhak/http-https-echo"],
        id: "palisade.dev/builtin/http-https-echo",
        user: 1000,
        entry: Entry::BuiltIn { name: "http-https-echo", program: "node" },
    },
    Image {
        repositories: &["hashicorp/http-echo"],
        id: "palisade.dev/builtin/http-echo",
        user: NOBODY,
        entry: Entry::BuiltIn { name: "http-echo", program: "http-echo" },
    },
    Image {
        repositories: &["wbitt/network-multitool", "praqma/network-multitool"],
        id: "palisade.dev/builtin/network-multitool",
        user: NOBODY,
        entry: Entry::ServerOrCommand("network-multitool"),
    },
    Image {
        repositories: &["curlimages/curl", "curl/curl"],
        id: "palisade.dev/builtin/curl",
        user: 100,
        entry: Entry::HostProgram("curl"),
    },
    Image {
        repositories: &["busybox", "alpine", "debian", "ubuntu", "bash", "nicolaka/netshoot"],
        id: "palisade.dev/builtin/shell",
        user: NOBODY,
        entry: Entry::HostProgram("sh"),
    },
    Image {
        repositories: &["palisade.dev/proxy*"],
        id: PROXY,
        user: 1337,
        entry: Entry::Palisade(&["proxy", "sidecar"]),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn command(image: &str, command: &[&str], args: &[&str]) -> String {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let (command, args) = (owned(command), owned(args));
        let wanted = Wanted { image, command: &command, args: &args, override_with: None };
        resolve(wanted).unwrap().command.join(" ")
    }

    #[test]
    fn well_known_images_run_what_is_built_in() {
        let image = |name: &str| format!("{PROGRAM} internal image {name}");
        for (name, entry, args, expected) in [
            ("mendhak/http-https-echo:34", &[][..], &[][..], image("http-https-echo")),
            ("docker.io/mendhak/http-https-echo", &[], &[], image("http-https-echo")),
            ("hashicorp/http-echo", &[], &["-text=hi"], image("http-echo -text=hi")),
            (
                "hashicorp/http-echo:1",
                &["/http-echo", "-text=hi"],
                &[],
                image("http-echo -text=hi"),
            ),
            ("wbitt/network-multitool:extra", &[], &[], image("network-multitool")),
            ("wbitt/network-multitool", &[], &["sleep", "9"], "sleep 9".into()),
            ("wbitt/network-multitool", &["sleep"], &["9"], "sleep 9".into()),
            ("curlimages/curl@sha256:00", &[], &["-s", "x"], "curl -s x".into()),
            ("curlimages/curl", &[], &["/bin/sh"], "/bin/sh".into()),
            ("localhost:5000/busybox:1", &["true"], &[], String::new()),
            ("localhost/busybox:1.35", &["sh", "-c"], &["true"], "sh -c true".into()),
            ("palisade.dev/proxy:0.1.0", &[], &[], format!("{PROGRAM} proxy sidecar")),
            ("palisade.dev/proxy:1", &[], &["proxy", "x"], format!("{PROGRAM} proxy x")),
        ] {
            if expected.is_empty() {
                assert!(resolve(Wanted { image: name, ..Wanted::default() }).is_err(), "{name}");
            } else {
                assert_eq!(command(name, entry, args), expected, "{name}");
            }
        }
    }

    #[test]
    fn an_annotation_names_a_program_of_this_machine() {
        for (text, expected) in
            [(r#"["/opt/app", "a b"]"#, "/opt/app|a b"), ("exec app $X", "/bin/sh|-c|exec app $X")]
        {
            let wanted = Wanted { image: "x", override_with: Some(text), ..Wanted::default() };
            assert_eq!(resolve(wanted).unwrap().command.join("|"), expected);
        }
    }

    #[test]
    fn an_unknown_image_names_the_ways_out() {
        let error = resolve(Wanted { image: "nginx:1.27", ..Wanted::default() }).unwrap_err();
        insta::assert_snapshot!(error);
    }
}
