//! What the node's kernel and container runtime can enforce.

use std::fs;
use std::path::Path;

use super::Sysctls;
use crate::cri::Features;

/// What the node can enforce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// AppArmor profiles.
    pub app_armor: bool,
    /// SELinux options.
    pub selinux: bool,
    /// That the groups of the image are left out.
    pub groups_policy: bool,
    /// That what is mounted below a read-only volume is read-only, too.
    pub recursive_read_only: bool,
    /// Kernel settings.
    pub sysctls: Sysctls,
}

impl Abilities {
    /// With a runtime that can do nothing, and with one that can do everything.
    pub(super) fn of_runtimes() -> [Self; 2] {
        [false, true].map(|able| Self {
            selinux: able,
            groups_policy: able,
            recursive_read_only: able,
            app_armor: false,
            sysctls: Sysctls::default(),
        })
    }

    /// What the kernel can do, together with what the runtime says of itself.
    pub fn now(sysctls: &Sysctls, runtime: &Features) -> Self {
        let app_armor = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        Self {
            app_armor: app_armor.is_ok_and(|text| text.starts_with('Y')),
            selinux: runtime.selinux && Path::new("/sys/fs/selinux/enforce").exists(),
            groups_policy: runtime.groups_policy,
            recursive_read_only: runtime.recursive_read_only,
            sysctls: sysctls.clone(),
        }
    }
}
