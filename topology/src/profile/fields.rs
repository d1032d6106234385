//! Takes fields out of a TOML table one by one, so that every mistake is named with field, value and expectation.
//!
//! Rejected: serde's derive, whose errors are prose without the field and the value as data.

use crate::{NumaId, TopologyError, profile::Auto};
use std::ops::RangeInclusive;
use toml::{Table, Value};

/// Characters of a wrong value that an error repeats.
const VALUE_CHARS_MAX: usize = 80;

/// One table of a profile, emptied as its fields are taken.
pub(super) struct Fields<'a> {
    profile: &'a str,
    section: &'static str,
    table: Table,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(profile: &'a str, table: Table) -> Self {
        Self { profile, section: "", table, known: Vec::new() }
    }

    /// The table `key`, empty if it is not there.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Self, TopologyError> {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => return Err(self.wrong(key, &other, format!("a table, written [{key}]"))),
        };
        Ok(Self { profile: self.profile, section: key, table, known: Vec::new() })
    }

    /// A text that must be there and not be blank.
    pub(super) fn text(&mut self, key: &'static str) -> Result<String, TopologyError> {
        match self.take(key) {
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
            Some(other) => Err(self.wrong(key, &other, "a text that is not blank")),
            None => Err(self.error(key, "nothing", "a text that is not blank")),
        }
    }

    /// A text that is not blank, if given.
    pub(super) fn optional_text(&mut self, key: &'static str) -> Result<Option<String>, TopologyError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, &other, "a text that is not blank")),
        }
    }

    /// A number in `range`, if given.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, TopologyError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match in_range(&value, &range) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(key, &value, format!("a whole number of {}", words(&range)))),
        }
    }

    /// A number in `range` or `"auto"`, which is also what a missing field means.
    pub(super) fn auto_number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Auto<u32>, TopologyError> {
        let Some(value) = self.take(key) else {
            return Ok(Auto::Auto);
        };
        if is_auto(&value) {
            return Ok(Auto::Auto);
        }
        match in_range(&value, &range) {
            Some(number) => Ok(Auto::Fixed(number)),
            None => Err(self.wrong(key, &value, format!("a whole number of {}, or \"auto\"", words(&range)))),
        }
    }

    /// One of some names, if given.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, TopologyError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let chosen = choices.iter().find(|(name, _)| value.as_str() == Some(name));
        let names = || choices.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>();
        let expected = || format!("one of {}", names().join(", "));
        chosen.map(|(_, choice)| Some(*choice)).ok_or_else(|| self.wrong(key, &value, expected()))
    }

    /// `true` or `false`, if given.
    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, TopologyError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(key, &other, "true or false")),
        }
    }

    /// A list of NUMA nodes or `"auto"`.
    pub(super) fn auto_numa_ids(&mut self, key: &'static str) -> Result<Auto<Vec<NumaId>>, TopologyError> {
        let Some(value) = self.take(key) else {
            return Ok(Auto::Auto);
        };
        if is_auto(&value) {
            return Ok(Auto::Auto);
        }
        let range = 0..=u32::from(u16::MAX);
        let list = value.as_array().and_then(|items| {
            items.iter().map(|item| in_range(item, &range).map(NumaId)).collect::<Option<Vec<_>>>()
        });
        list.map(Auto::Fixed)
            .ok_or_else(|| self.wrong(key, &value, "a list of NUMA node numbers such as [0, 1], or \"auto\""))
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<(), TopologyError> {
        match self.table.iter().next() {
            None => Ok(()),
            Some((key, value)) => {
                Err(self.wrong(key, value, format!("no such field; known here: {}", self.known.join(", "))))
            }
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn wrong(&self, key: &str, value: &Value, expected: impl Into<String>) -> TopologyError {
        self.error(key, &value.to_string(), expected)
    }

    pub(super) fn error(&self, key: &str, value: &str, expected: impl Into<String>) -> TopologyError {
        let field = if self.section.is_empty() { key.to_owned() } else { format!("{}.{key}", self.section) };
        let mut shown: String = value.chars().take(VALUE_CHARS_MAX).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        let (profile, expected) = (self.profile.to_owned(), expected.into());
        TopologyError::ProfileField { profile, field, value: shown, expected }
    }
}

fn is_auto(value: &Value) -> bool {
    value.as_str() == Some("auto")
}

fn in_range(value: &Value, range: &RangeInclusive<u32>) -> Option<u32> {
    let number = u32::try_from(value.as_integer()?).ok()?;
    range.contains(&number).then_some(number)
}

fn words(range: &RangeInclusive<u32>) -> String {
    format!("{} to {}", range.start(), range.end())
}
