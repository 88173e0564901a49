//! Network settings of the kernel below `/proc/sys/net`.
//!
//! They belong to the network namespace of the thread that touches them, never to the whole
//! machine. Upstream counterpart: component-helpers' `node/util/sysctl`.

use std::io;

/// Sets a setting such as `ipv4/ip_forward` unless it has the value already: where `/proc/sys`
/// is read-only, what is right is enough.
pub fn set(path: &str, value: &str) -> io::Result<()> {
    let file = format!("/proc/sys/net/{path}");
    if get(path).is_ok_and(|now| now == value) {
        return Ok(());
    }
    std::fs::write(&file, value)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot set {file} to {value}: {e}")))
}

/// The value of a setting.
pub fn get(path: &str) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/sys/net/{path}")).map(|value| value.trim().to_owned())
}
