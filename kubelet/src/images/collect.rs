//! Removes images that no container uses when the disk they lie on fills up, the longest unused first.
//! Corresponds to upstream's `image_gc_manager.go`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use proto::cri::{Container, Image};

use super::Images;
use crate::cri::{CriResult, Runtime};

/// How often the disk is looked at.
pub const LOOK: Duration = Duration::from_secs(300);
/// An image that was seen for no longer than this may be about to be used.
const YOUNG: Duration = Duration::from_secs(120);

/// When to begin and when to end, in percent of the disk; at 100 it never begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Fuller than this is too full.
    pub high: u8,
    /// What removing aims at.
    pub low: u8,
}

/// How full a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fullness {
    size: u64,
    free: u64,
}

impl Fullness {
    fn of(dir: &Path) -> std::io::Result<Self> {
        let fs = statvfs(dir)?;
        Ok(Self { size: fs.blocks() * fs.fragment_size(), free: fs.blocks_available() * fs.fragment_size() })
    }

    /// How many bytes are to be made free.
    fn excess(self, thresholds: Thresholds) -> u64 {
        let used = 100 - (self.free.min(self.size) * 100).checked_div(self.size).unwrap_or(100);
        if thresholds.high >= 100 || used < u64::from(thresholds.high) {
            return 0;
        }
        (self.size / 100 * (100 - u64::from(thresholds.low))).saturating_sub(self.free)
    }
}

/// What is known of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    first_seen: Instant,
    last_used: Option<Instant>,
}

/// Knows which images are in use, and removes others.
pub struct Collector {
    runtime: Arc<Runtime>,
    images: Arc<Images>,
    thresholds: Thresholds,
    records: HashMap<String, Record>,
}

impl Collector {
    /// Knows nothing yet.
    pub fn new(runtime: Arc<Runtime>, images: Arc<Images>, thresholds: Thresholds) -> Self {
        Self { runtime, images, thresholds, records: HashMap::new() }
    }

    /// Looks at the disk and removes images if it is too full. Answers, when that did not make enough room, how
    /// many bytes were to be freed and how many were.
    pub async fn collect(&mut self, now: Instant) -> CriResult<Option<(u64, u64)>> {
        if self.thresholds.high >= 100 {
            return Ok(None);
        }
        let images = self.images.list().await?;
        let containers = self.runtime.list_containers(None).await?;
        let of_sandboxes = self.runtime.sandbox_image().await?;
        notice(&mut self.records, &images, &containers, now);
        let disk = self.runtime.disk().await?;
        let excess = match Fullness::of(&disk.images) {
            Ok(fullness) => fullness.excess(self.thresholds),
            Err(error) => {
                tracing::warn!(%error, dir = %disk.images.display(), "Cannot look at the disk of images");
                0
            }
        };
        if excess == 0 {
            return Ok(None);
        }
        let mut freed = 0;
        for (id, size) in removable(&self.records, &images, of_sandboxes.as_deref(), now) {
            if freed >= excess {
                break;
            }
            tracing::info!(image = id, size, "Removing an unused image, since the disk is filling up");
            match self.images.remove(&id).await {
                Ok(()) => freed += size,
                Err(error) => tracing::warn!(image = id, %error, "Cannot remove an image"),
            }
        }
        Ok((freed < excess).then_some((excess, freed)))
    }
}

/// Remembers which images there are and which are in use.
fn notice(records: &mut HashMap<String, Record>, images: &[Image], containers: &[Container], now: Instant) {
    records.retain(|id, _| images.iter().any(|image| image.id == *id));
    for image in images {
        let record = records.entry(image.id.clone()).or_insert(Record { first_seen: now, last_used: None });
        if containers.iter().any(|container| uses(container, image)) {
            record.last_used = Some(now);
        }
    }
}

fn uses(container: &Container, image: &Image) -> bool {
    let asked = container.image.as_ref().map(|spec| spec.image.as_str()).unwrap_or_default();
    [asked, &container.image_ref].into_iter().any(|name| is_called(image, name))
}

fn is_called(image: &Image, name: &str) -> bool {
    image.id == name || image.repo_tags.iter().chain(&image.repo_digests).any(|known| known == name)
}

/// Images that may go with their sizes, the longest unused first.
fn removable(
    records: &HashMap<String, Record>,
    images: &[Image],
    of_sandboxes: Option<&str>,
    now: Instant,
) -> Vec<(String, u64)> {
    let kept = |image: &Image| image.pinned || of_sandboxes.is_some_and(|name| is_called(image, name));
    let mut found: Vec<(Record, &Image)> = images
        .iter()
        .filter(|image| !kept(image))
        .filter_map(|image| Some((*records.get(&image.id)?, image)))
        .filter(|(record, _)| record.last_used != Some(now))
        .filter(|(record, _)| now.duration_since(record.first_seen) >= YOUNG)
        .collect();
    found.sort_by_key(|(record, _)| (record.last_used, record.first_seen));
    found.into_iter().map(|(_, image)| (image.id.clone(), image.size)).collect()
}

#[cfg(test)]
mod tests;
