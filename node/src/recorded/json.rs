//! A cursor over JSON that knows where it stands, so that every refusal names file, field, value and expectation.

use super::{RecordedError, file::JsonFile};
use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256, hex};
use serde_json::Value;
use std::path::Path;

/// Most characters of a wrong value that an error quotes.
const QUOTED_CHARS_MAX: usize = 80;

/// One value in a JSON file, with the way that led to it.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    file: &'a Path,
    parent: Option<&'a Node<'a>>,
    step: Step<'a>,
    value: &'a Value,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Node<'a> {
    pub(crate) fn root(file: &'a JsonFile) -> Self {
        Self { file: &file.path, parent: None, step: Step::Root, value: &file.value }
    }

    fn child(&'a self, step: Step<'a>, value: &'a Value) -> Self {
        Self { file: self.file, parent: Some(self), step, value }
    }

    /// A field that may be missing or null.
    pub(crate) fn optional(&'a self, key: &'a str) -> Result<Option<Self>, RecordedError> {
        let Value::Object(fields) = self.value else { return Err(self.refuse("an object")) };
        Ok(fields.get(key).filter(|value| !value.is_null()).map(|value| self.child(Step::Key(key), value)))
    }

    /// A field that must be there.
    pub(crate) fn required(&'a self, key: &'a str) -> Result<Self, RecordedError> {
        match self.optional(key)? {
            Some(node) => Ok(node),
            None => Err(self.child(Step::Key(key), &Value::Null).refuse("a value")),
        }
    }

    /// An object's fields, in the order of the parser.
    pub(crate) fn fields(&'a self) -> Result<impl Iterator<Item = (&'a str, Self)>, RecordedError> {
        let Value::Object(fields) = self.value else { return Err(self.refuse("an object")) };
        Ok(fields.iter().map(move |(key, value)| (key.as_str(), self.child(Step::Key(key), value))))
    }

    /// An array's items.
    pub(crate) fn items(&'a self) -> Result<impl ExactSizeIterator<Item = Self>, RecordedError> {
        let Value::Array(items) = self.value else { return Err(self.refuse("an array")) };
        Ok(items.iter().enumerate().map(move |(index, value)| self.child(Step::Index(index), value)))
    }

    pub(crate) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    pub(crate) fn bool(&self) -> Result<bool, RecordedError> {
        self.value.as_bool().ok_or_else(|| self.refuse("true or false"))
    }

    /// A JSON integer or a hex quantity below 2^64.
    pub(crate) fn u64(&self) -> Result<u64, RecordedError> {
        let expected = "a hex quantity or an integer below 2^64";
        if let Value::Number(number) = self.value {
            return number.as_u64().ok_or_else(|| self.refuse(expected));
        }
        self.quantity(expected)?.try_into().map_err(|_| self.refuse(expected))
    }

    /// A hex quantity below 2^128.
    pub(crate) fn u128(&self) -> Result<u128, RecordedError> {
        let expected = "a hex quantity below 2^128";
        self.quantity(expected)?.try_into().map_err(|_| self.refuse(expected))
    }

    /// A hex quantity below 2^256.
    pub(crate) fn u256(&self) -> Result<U256, RecordedError> {
        self.quantity("a hex quantity below 2^256")
    }

    /// A decimal number below 2^256, or a hex quantity with `0x`.
    pub(crate) fn decimal(&self) -> Result<U256, RecordedError> {
        let expected = "a decimal number below 2^256";
        let Some(text) = self.value.as_str() else { return Err(self.refuse(expected)) };
        if text.starts_with("0x") {
            return self.quantity(expected);
        }
        let are_digits = (1..=78).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if are_digits { U256::from_str_radix(text, 10).ok() } else { None };
        number.ok_or_else(|| self.refuse(expected))
    }

    pub(crate) fn bytes(&self) -> Result<Bytes, RecordedError> {
        let expected = "an even number of hex digits";
        let digits = self.digits().ok_or_else(|| self.refuse(expected))?;
        hex::decode(digits).map(Bytes::from).map_err(|_| self.refuse(expected))
    }

    pub(crate) fn fixed<const N: usize>(&self) -> Result<FixedBytes<N>, RecordedError> {
        self.digits().and_then(fixed_from_digits).ok_or_else(|| self.refuse(&format!("{} hex digits", 2 * N)))
    }

    pub(crate) fn b256(&self) -> Result<B256, RecordedError> {
        self.fixed()
    }

    pub(crate) fn address(&self) -> Result<Address, RecordedError> {
        self.fixed().map(Address::from)
    }

    /// The address that is this field's own name.
    pub(crate) fn key_address(&self) -> Result<Address, RecordedError> {
        self.key()
            .and_then(|key| fixed_from_digits(strip_prefix(key)))
            .map(Address::from)
            .ok_or_else(|| self.refuse("40 hex digits as the field's name"))
    }

    /// The hex quantity that is this field's own name.
    pub(crate) fn key_u256(&self) -> Result<U256, RecordedError> {
        self.key()
            .and_then(|key| quantity_from_digits(strip_prefix(key)))
            .ok_or_else(|| self.refuse("a hex quantity below 2^256 as the field's name"))
    }

    /// The decimal number that is this field's own name.
    pub(crate) fn key_number(&self) -> Result<u64, RecordedError> {
        self.key()
            .and_then(|key| key.parse().ok())
            .ok_or_else(|| self.refuse("a decimal number as the field's name"))
    }

    /// An error about this value.
    pub(crate) fn refuse(&self, expected: &str) -> RecordedError {
        let (file, value) = (self.file.to_path_buf(), quote(self.value));
        let expected = expected.to_owned();
        match self.step {
            Step::Root if self.is_null() => RecordedError::Root { file, value: "null".to_owned(), expected },
            Step::Root => RecordedError::Root { file, value, expected },
            Step::Key(_) | Step::Index(_) => {
                RecordedError::Field { file, field: self.path(), value, expected }
            }
        }
    }

    pub(crate) fn file(&self) -> &'a Path {
        self.file
    }

    fn quantity(&self, expected: &str) -> Result<U256, RecordedError> {
        self.digits().and_then(quantity_from_digits).ok_or_else(|| self.refuse(expected))
    }

    fn digits(&self) -> Option<&'a str> {
        self.value.as_str().map(strip_prefix)
    }

    fn key(&self) -> Option<&'a str> {
        match self.step {
            Step::Key(key) => Some(key),
            Step::Root | Step::Index(_) => None,
        }
    }

    fn path(&self) -> String {
        let mut path = self.parent.map(Node::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Key(key) if path.is_empty() => path.push_str(&shorten(key)),
            Step::Key(key) => path.extend([".", &shorten(key)]),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
        path
    }
}

fn strip_prefix(text: &str) -> &str {
    text.strip_prefix("0x").unwrap_or(text)
}

fn fixed_from_digits<const N: usize>(digits: &str) -> Option<FixedBytes<N>> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(FixedBytes(bytes))
}

fn quantity_from_digits(digits: &str) -> Option<U256> {
    // The parser of U256 lets underscores pass: count and check the digits here.
    let are_digits = (1..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if are_digits { U256::from_str_radix(digits, 16).ok() } else { None }
}

fn quote(value: &Value) -> String {
    match value {
        Value::Null => "missing".to_owned(),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
        Value::Array(items) => format!("an array of {} items", items.len()),
        Value::String(text) => format!("\"{}\"", shorten(text)),
        Value::Bool(_) | Value::Number(_) => shorten(&value.to_string()),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(value: Value) -> JsonFile {
        JsonFile { path: "block.json".into(), value }
    }

    #[test]
    fn a_refusal_names_file_field_value_and_expectation() {
        let file = file(json!({"transactions": [{"gas": "0x1"}, {"gas": "0xzz"}]}));
        let root = Node::root(&file);
        let transactions = root.required("transactions").unwrap();
        let second = transactions.items().unwrap().nth(1).unwrap();
        assert_eq!(
            second.required("gas").unwrap().u64().unwrap_err().to_string(),
            "block.json: field `transactions[1].gas` is \"0xzz\": expected a hex quantity or an integer below 2^64"
        );
        assert_eq!(
            second.required("value").err().unwrap().to_string(),
            "block.json: field `transactions[1].value` is missing: expected a value"
        );
    }

    #[test]
    fn a_file_that_is_no_object_is_refused_without_naming_a_field() {
        let file = file(json!([1, 2]));
        let error = Node::root(&file).required("hash").err().unwrap().to_string();
        assert_eq!(error, "block.json: holds an array of 2 items: expected an object");
    }

    #[test]
    fn hex_comes_with_or_without_a_prefix() {
        let file = file(json!({"a": "0xff", "b": "ff", "c": 255}));
        let root = Node::root(&file);
        for key in ["a", "b", "c"] {
            assert_eq!(root.required(key).unwrap().u64().unwrap(), 255);
        }
        assert_eq!(root.required("b").unwrap().bytes().unwrap(), Bytes::from(vec![255]));
    }

    #[test]
    fn quantities_out_of_range_are_refused() {
        let too_long = format!("0x{}", "1".repeat(65));
        let file = file(json!(["", "0x", "0x_1", "-1", too_long, 1.5, -1, null, [], {}, true]));
        let root = Node::root(&file);
        for item in root.items().unwrap() {
            assert!(item.u64().is_err(), "{}", item.value);
            assert!(item.u256().is_err(), "{}", item.value);
            assert!(item.address().is_err(), "{}", item.value);
        }
    }

    #[test]
    fn a_quoted_value_is_shortened_between_characters() {
        let file = file(json!("é".repeat(1000)));
        let error = Node::root(&file).u256().unwrap_err().to_string();
        assert!(error.chars().count() < 200, "{error}");
    }
}
