//! The options as written: text to a list of names and values, in order. Knows the comma and the quotation mark, and
//! no option by name.

use std::fmt;

use super::{OptionError, Problem};

/// One option as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawOption {
    /// What stands before the first `=`.
    pub name: String,
    /// What stands after it, without quotation marks; `None` without `=`.
    pub value: Option<String>,
}

impl RawOption {
    /// The error that this option has `problem`.
    pub fn problem(&self, problem: Problem) -> OptionError {
        OptionError {
            option: self.written(),
            problem,
        }
    }

    /// `name` or `name=value`.
    fn written(&self) -> String {
        match &self.value {
            Some(value) => format!("{}={value}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for RawOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) if value.contains(',') => write!(f, "{}=\"{value}\"", self.name),
            _ => f.write_str(&self.written()),
        }
    }
}

/// Options as written, in the order in which they were given: later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawOptions(Vec<RawOption>);

impl RawOptions {
    /// Splits one `-o` argument at its commas. A quotation mark hides commas up to the next one, as mount(8) has it
    /// for `context="system_u:object_r:tmp_t:s0:c127,c456"`. Empty pieces are skipped.
    pub fn parse(text: &str) -> Result<RawOptions, OptionError> {
        let mut options = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = split_first(rest)?;
            rest = after;
            if !piece.is_empty() {
                options.push(parse_piece(piece));
            }
        }
        Ok(RawOptions(options))
    }

    /// All `-o` arguments of a command line, in order.
    pub fn parse_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<RawOptions, OptionError> {
        let mut all = RawOptions::default();
        for text in texts {
            all.0.extend(RawOptions::parse(text)?.0);
        }
        Ok(all)
    }

    /// These and one more at the end.
    pub fn with(&self, option: &RawOption) -> RawOptions {
        let mut all = self.clone();
        all.0.push(option.clone());
        all
    }

    /// The options in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &RawOption> {
        self.0.iter()
    }
}

impl fmt::Display for RawOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, option) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{option}")?;
        }
        Ok(())
    }
}

/// The text up to the first comma outside quotation marks, and what follows the comma.
fn split_first(text: &str) -> Result<(&str, &str), OptionError> {
    let mut quoted = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => return Ok((&text[..index], &text[index + 1..])),
            _ => {}
        }
    }
    if quoted {
        return Err(OptionError {
            option: text.to_owned(),
            problem: Problem::OpenQuote,
        });
    }
    Ok((text, ""))
}

/// One piece to name and value; quotation marks around the value go.
fn parse_piece(piece: &str) -> RawOption {
    match piece.split_once('=') {
        None => RawOption {
            name: piece.to_owned(),
            value: None,
        },
        Some((name, value)) => RawOption {
            name: name.to_owned(),
            value: Some(value.replace('"', "")),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> Vec<(String, Option<String>)> {
        let options = RawOptions::parse(text).unwrap();
        options.iter().map(|o| (o.name.clone(), o.value.clone())).collect()
    }

    #[test]
    fn splits_at_commas() {
        let expected = vec![
            ("size".to_owned(), Some("1g".to_owned())),
            ("ro".to_owned(), None),
            ("x-a".to_owned(), Some("b=c".to_owned())),
        ];
        assert_eq!(written("size=1g,,ro,x-a=b=c,"), expected);
        assert_eq!(written(""), vec![]);
    }

    #[test]
    fn quotes_hide_commas() {
        let expected = vec![
            ("context".to_owned(), Some("u:r:t:s0:c1,c2".to_owned())),
            ("ro".to_owned(), None),
        ];
        assert_eq!(written("context=\"u:r:t:s0:c1,c2\",ro"), expected);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        let error = RawOptions::parse("ro,context=\"a,b").unwrap_err();
        assert_eq!(error.problem, Problem::OpenQuote);
        assert!(!error.to_string().contains('\n'));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_in_one_line(text in any::<String>()) {
            if let Err(error) = RawOptions::parse(&text) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }

        #[test]
        fn what_is_printed_parses_to_the_same(
            pieces in prop::collection::vec(("[a-z_-]{1,12}", prop::option::of("[a-z0-9%:=,.]{0,20}")), 0..8)
        ) {
            let options = RawOptions(pieces.into_iter().map(|(name, value)| RawOption { name, value }).collect());
            prop_assert_eq!(RawOptions::parse(&options.to_string()).unwrap(), options);
        }
    }
}
