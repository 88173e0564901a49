//! Sets of completion indexes, kept and written as intervals in order: `0-3,7`.

use std::fmt;

/// A set of indexes: intervals with both ends, in order, with a gap between each two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(i32, i32)>);

impl Indexes {
    /// Reads a text as statuses and success policies have it, below `completions`; what is no interval is left out.
    pub fn parse(text: &str, completions: i32) -> Self {
        let interval = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.parse().ok()?, last.parse::<i32>().ok()?.min(completions - 1)))
        };
        Indexes::joined(text.split(',').filter_map(interval).collect())
    }

    /// The set of these.
    pub fn of(indexes: impl IntoIterator<Item = i32>) -> Self {
        Indexes::joined(indexes.into_iter().map(|index| (index, index)).collect())
    }

    fn joined(mut intervals: Vec<(i32, i32)>) -> Self {
        intervals.retain(|(first, last)| first <= last);
        intervals.sort_unstable();
        let mut joined: Vec<(i32, i32)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Indexes(joined)
    }

    /// What is in one or the other.
    pub fn union(&self, other: &Self) -> Self {
        Indexes::joined(self.0.iter().chain(&other.0).copied().collect())
    }

    /// How many there are.
    pub fn total(&self) -> i32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is among them.
    pub fn contains(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// How many are in both.
    pub fn common(&self, other: &Self) -> i32 {
        let (mut mine, mut theirs, mut sum) = (0, 0, 0);
        while let (Some(a), Some(b)) = (self.0.get(mine), other.0.get(theirs)) {
            sum += (a.1.min(b.1) - a.0.max(b.0) + 1).max(0);
            if a.1 < b.1 { mine += 1 } else { theirs += 1 }
        }
        sum
    }

    /// The first `count` below `completions` that are not among them.
    pub fn missing(&self, count: usize, completions: i32) -> Vec<i32> {
        let starts = std::iter::once(0).chain(self.0.iter().map(|(_, last)| last.saturating_add(1)));
        let ends = self.0.iter().map(|(first, _)| *first).chain([completions]);
        starts.zip(ends).flat_map(|(start, end)| start..end.min(completions)).take(count).collect()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            match last - first {
                0 => write!(out, "{comma}{first}")?,
                1 => write!(out, "{comma}{first},{last}")?,
                _ => write!(out, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
