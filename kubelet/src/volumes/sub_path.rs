//! Paths inside volumes (`subPath`): made when they are missing, and never leading out of the volume, also
//! not through links that a container left there.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::runtime_config::container::VolumePath;

/// The place on the node of a path inside a volume.
pub fn resolve(volume: &VolumePath, sub: &str) -> Result<PathBuf, String> {
    let plain =
        Path::new(sub).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain {
        return Err(format!("subPath {sub:?} must be relative and must not contain '..'"));
    }
    let root = fs::canonicalize(&volume.path)
        .map_err(|e| format!("failed to prepare subPath for volumeMount: {}: {e}", volume.path.display()))?;
    let mut at = root.clone();
    for part in Path::new(sub).components() {
        let next = at.join(part);
        if fs::symlink_metadata(&next).is_err() && !volume.read_only {
            fs::create_dir(&next).map_err(|e| format!("failed to create subPath {sub:?}: {e}"))?;
        }
        at = fs::canonicalize(&next).map_err(|e| format!("failed to prepare subPath {sub:?}: {e}"))?;
        if !at.starts_with(&root) {
            return Err(format!("subPath {sub:?} leads out of the volume"));
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside() {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let path = fs::canonicalize(root.path()).expect("it exists");
        let volume = VolumePath { path: path.clone(), read_only: false };
        std::os::unix::fs::symlink("/etc", path.join("out")).expect("a link can be made");
        assert_eq!(resolve(&volume, "a/b"), Ok(path.join("a/b")));
        assert!(path.join("a/b").is_dir());
        for bad in ["../x", "/etc", "out/passwd", "a/../.."] {
            assert!(resolve(&volume, bad).is_err(), "{bad}");
        }
        let fixed = VolumePath { path: path.clone(), read_only: true };
        assert!(resolve(&fixed, "missing").is_err());
    }
}
