//! Why user namespaces are not to be had, and the ways out. The kernel gives the same error for many
//! reasons; its settings tell them apart.

use std::{fmt, fs, io};

use rustix::io::Errno;

/// What keeps programs from making user namespaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// `kernel.apparmor_restrict_unprivileged_userns` takes their capabilities.
    AppArmor,
    /// `user.max_user_namespaces` allows no more.
    Maximum,
    /// `kernel.unprivileged_userns_clone` leaves them to root.
    RootOnly,
    /// No setting says so.
    Unknown,
}

/// The settings of this system; `None` where the kernel does not have one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// `kernel.apparmor_restrict_unprivileged_userns`.
    pub apparmor_restricts: Option<u64>,
    /// `user.max_user_namespaces`.
    pub maximum: Option<u64>,
    /// `kernel.unprivileged_userns_clone`.
    pub unprivileged_clone: Option<u64>,
}

impl Settings {
    /// What the system says now.
    #[must_use]
    pub fn read() -> Self {
        let setting =
            |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok();
        Self {
            apparmor_restricts: setting("kernel/apparmor_restrict_unprivileged_userns"),
            maximum: setting("user/max_user_namespaces"),
            unprivileged_clone: setting("kernel/unprivileged_userns_clone"),
        }
    }

    /// What explains this error of making a user namespace or of the first steps in it.
    #[must_use]
    pub fn obstacle(self, error: &io::Error) -> Obstacle {
        if self.maximum == Some(0) || Errno::from_io_error(error) == Some(Errno::NOSPC) {
            Obstacle::Maximum
        } else if self.unprivileged_clone == Some(0) {
            Obstacle::RootOnly
        } else if self.apparmor_restricts.is_some_and(|restricts| restricts != 0) {
            Obstacle::AppArmor
        } else {
            Obstacle::Unknown
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppArmor => {
                "the AppArmor setting kernel.apparmor_restrict_unprivileged_userns keeps programs \
                 without a profile from it; ways out: a profile for this program with the rule \
                 `userns,` (docs/doctor.md has one), `sudo sysctl -w \
                 kernel.apparmor_restrict_unprivileged_userns=0`, or run as root"
            }
            Self::Maximum => {
                "the sysctl user.max_user_namespaces allows no more of them; way out: `sudo sysctl \
                 -w user.max_user_namespaces=15000`, in a container on its host"
            }
            Self::RootOnly => {
                "the sysctl kernel.unprivileged_userns_clone is 0; ways out: `sudo sysctl -w \
                 kernel.unprivileged_userns_clone=1`, or run as root"
            }
            Self::Unknown => {
                "no sysctl forbids it, so a seccomp filter or security module does; in a container \
                 that is its runtime's (docker run --security-opt seccomp=unconfined); way out: run \
                 where it is allowed"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_explain_the_error() {
        let settings = |apparmor_restricts, maximum, unprivileged_clone| Settings {
            apparmor_restricts,
            maximum,
            unprivileged_clone,
        };
        for (errno, settings, obstacle) in [
            (Errno::NOSPC, settings(None, Some(0), None), Obstacle::Maximum),
            (Errno::NOSPC, settings(None, Some(1000), None), Obstacle::Maximum),
            (Errno::PERM, settings(None, Some(0), Some(0)), Obstacle::Maximum),
            (Errno::PERM, settings(Some(1), Some(1000), Some(0)), Obstacle::RootOnly),
            (Errno::ACCESS, settings(Some(1), Some(1000), Some(1)), Obstacle::AppArmor),
            (Errno::PERM, settings(Some(0), Some(1000), Some(1)), Obstacle::Unknown),
            (Errno::PERM, Settings::default(), Obstacle::Unknown),
        ] {
            assert_eq!(settings.obstacle(&errno.into()), obstacle, "{errno} {settings:?}");
        }
    }

    #[test]
    fn every_obstacle_names_a_way_out() {
        for (obstacle, way_out) in [
            (Obstacle::AppArmor, "kernel.apparmor_restrict_unprivileged_userns=0"),
            (Obstacle::Maximum, "user.max_user_namespaces=15000"),
            (Obstacle::RootOnly, "kernel.unprivileged_userns_clone=1"),
            (Obstacle::Unknown, "seccomp=unconfined"),
        ] {
            let text = obstacle.to_string();
            assert!(text.contains("way") && text.contains(way_out), "{text}");
        }
    }
}
