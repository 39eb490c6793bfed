//! The division of a service's memory: what the program itself needs comes first, and the rest is
//! divided among the budgets for what peers cause.

use std::fmt;

/// A part of a service's memory. All sizes are in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    name: &'static str,
    least: usize,
    most: usize,
    weight: usize,
}

impl Part {
    /// A part that always has this size.
    #[must_use]
    pub const fn fixed(name: &'static str, bytes: usize) -> Self {
        Self { name, least: bytes, most: bytes, weight: 0 }
    }

    /// A part that has at least `least` bytes, and gets a share of the rest by its weight.
    #[must_use]
    pub const fn share(name: &'static str, weight: usize, least: usize) -> Self {
        Self { name, least, most: usize::MAX, weight }
    }

    /// Limits the share.
    #[must_use]
    pub const fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Gives the part exactly the size that a setting names. 0 means that the setting is not used,
    /// and leaves the part as it is.
    #[must_use]
    pub const fn set_to(self, bytes: usize) -> Self {
        match bytes {
            0 => self,
            _ => Self::fixed(self.name, bytes),
        }
    }
}

/// How the memory of a service is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    max: usize,
    parts: Vec<(&'static str, usize)>,
}

/// The least sizes of all parts do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "memory_max is {}, but the parts need {} at least ({parts}): raise memory_max (--memory-max, or the memory limit of \
     the container), or lower the size settings among these parts",
    Size(*max),
    Size(*sum)
)]
pub struct TooSmall {
    max: usize,
    sum: usize,
    parts: String,
}

/// Divides `max` bytes among parts. Each part gets its least size, and the rest is divided by
/// weight. What a part cannot take, because of its limit, goes to the others.
///
/// # Errors
/// [`TooSmall`].
pub fn divide(max: usize, parts: &[Part]) -> Result<Division, TooSmall> {
    let mut sizes: Vec<usize> = parts.iter().map(|part| part.least).collect();
    let sum = sizes.iter().fold(0, |sum: usize, bytes| sum.saturating_add(*bytes));
    let named = |sizes: Vec<usize>| parts.iter().map(|part| part.name).zip(sizes).collect::<Vec<_>>();
    let Some(mut rest) = max.checked_sub(sum) else {
        return Err(TooSmall { max, sum, parts: list(&named(sizes)) });
    };
    loop {
        let is_open = |i: &usize| parts[*i].weight > 0 && sizes[*i] < parts[*i].most;
        let open: Vec<usize> = (0..parts.len()).filter(is_open).collect();
        let weights: usize = open.iter().map(|i| parts[*i].weight).sum();
        let unit = rest.checked_div(weights).unwrap_or(0);
        if unit == 0 {
            return Ok(Division { max, parts: named(sizes) });
        }
        for i in open {
            let taken = unit.saturating_mul(parts[i].weight).min(parts[i].most - sizes[i]);
            sizes[i] += taken;
            rest -= taken;
        }
    }
}

impl Division {
    /// The whole, in bytes.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// The size of the part with this name, in bytes; 0 if there is none.
    #[must_use]
    pub fn of(&self, name: &str) -> usize {
        self.parts.iter().find(|(part, _)| *part == name).map_or(0, |(_, bytes)| *bytes)
    }

    /// Names and sizes of the parts, in bytes.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.parts.iter().copied()
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", Size(self.max), list(&self.parts))
    }
}

fn list(parts: &[(&'static str, usize)]) -> String {
    let each: Vec<String> = parts.iter().map(|(name, bytes)| format!("{name} {}", Size(*bytes))).collect();
    each.join(" + ")
}

/// A number of bytes for people.
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 1 << 20 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{} MiB", bytes >> 20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn the_rest_is_divided_by_weight_within_limits() {
        let parts = [
            Part::fixed("program", 24 * MIB),
            Part::share("cache", 50, 4 * MIB).at_most(10 * MIB),
            Part::share("replicas", 30, 8 * MIB),
            Part::share("rings", 20, 4 * MIB),
        ];
        let division = divide(100 * MIB, &parts).unwrap();
        assert_eq!((division.of("program"), division.of("cache")), (24 * MIB, 10 * MIB));
        let (replicas, rings) = (division.of("replicas"), division.of("rings"));
        assert!(replicas > 40 * MIB - 64 && rings > 20 * MIB, "{division}");
        let sum: usize = division.parts().map(|(_, bytes)| bytes).sum();
        assert!(sum <= 100 * MIB && sum > 100 * MIB - 100, "{sum}");
        assert!(division.to_string().starts_with("100 MiB = program 24 MiB + cache 10 MiB + "), "{division}");
    }

    #[test]
    fn a_setting_counts_in_full_and_too_little_memory_is_refused_with_the_sum() {
        let parts = [Part::fixed("program", 24 * MIB), Part::share("replicas", 1, MIB).set_to(80 * MIB)];
        assert_eq!(divide(104 * MIB, &parts).unwrap().of("replicas"), 80 * MIB);
        let said = divide(100 * MIB, &parts).unwrap_err().to_string();
        assert!(
            said.starts_with(
                "memory_max is 100 MiB, but the parts need 104 MiB at least (program 24 MiB + replicas 80 MiB)"
            ),
            "{said}"
        );
        assert_eq!(divide(30 * MIB, &[Part::share("replicas", 1, MIB).set_to(0)]).unwrap().of("replicas"), 30 * MIB);
        assert_eq!(divide(10, &[]).unwrap().of("anything"), 0);
    }
}
