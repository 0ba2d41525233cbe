//! RE2's syntax, as Kafka has it by way of RE2J, put into that of the `regex` crate.
//!
//! The two look alike and are not: in RE2 `[a&&b]` is three characters and `a{,2}` five, `a**` is
//! an error, `\07` a character, `\u0041` none. What is not RE2 is refused in RE2's words, so that an
//! expression that works here works there.

use std::collections::BTreeSet;

/// The most that a count in braces may say.
const COUNT_MAX: u32 = 1000;
/// The general categories that RE2 knows, beside scripts and "Any".
const CATEGORIES: &[&str] = &[
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N",
    "Nd", "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So",
    "Z", "Zl", "Zp", "Zs",
];
/// The classes that are written `[:name:]`.
const POSIX: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

const BAD_CLASS: &str = "invalid character class range";
const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_GROUP: &str = "invalid or unsupported Perl syntax";
const BAD_NAME: &str = "invalid named capture";
const NAME_TWICE: &str = "duplicate capture group name";
const NOTHING_TO_REPEAT: &str = "missing argument to repetition operator";
const REPEATED_TWICE: &str = "invalid nested repetition operator";
const BAD_COUNT: &str = "invalid repeat count";
const TRAILING_BACKSLASH: &str = "trailing backslash at end of expression";
const UNCLOSED_CLASS: &str = "missing closing ]";
const UNCLOSED_GROUP: &str = "missing closing )";
const UNOPENED_GROUP: &str = "unexpected )";

/// An RE2 expression in the words of the `regex` crate.
///
/// # Errors
/// What is wrong with it, as RE2 says it.
pub(super) fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut translation = Translation {
        rest: pattern,
        out: String::with_capacity(pattern.len()),
        names: BTreeSet::new(),
        open: 0,
        last: Last::Nothing,
    };
    while let Some(c) = translation.take() {
        translation.item(c)?;
    }
    if translation.open > 0 { Err(UNCLOSED_GROUP) } else { Ok(translation.out) }
}

/// What stands before the place that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing that could be repeated.
    Nothing,
    Item,
    Repetition,
}

#[derive(Debug)]
struct Translation<'p> {
    rest: &'p str,
    out: String,
    names: BTreeSet<&'p str>,
    /// Groups that have not been closed yet.
    open: usize,
    last: Last,
}

impl<'p> Translation<'p> {
    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn take_if(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn item(&mut self, c: char) -> Result<(), &'static str> {
        match c {
            '\\' => return self.escape(),
            '[' => self.class()?,
            '(' => return self.group(),
            ')' => {
                self.open = self.open.checked_sub(1).ok_or(UNOPENED_GROUP)?;
                self.out.push(')');
            }
            '|' => {
                self.out.push('|');
                self.last = Last::Nothing;
                return Ok(());
            }
            '*' => return self.repeat("*"),
            '+' => return self.repeat("+"),
            '?' => return self.repeat("?"),
            '{' => match counts(self.rest) {
                Some((text, after)) => {
                    self.rest = after;
                    check_counts(text)?;
                    return self.repeat(&format!("{{{text}}}"));
                }
                // Only letters, then.
                None => self.literal('{'),
            },
            '^' | '$' | '.' => self.out.push(c),
            _ => self.literal(c),
        }
        self.last = Last::Item;
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    fn repeat(&mut self, operator: &str) -> Result<(), &'static str> {
        match self.last {
            Last::Nothing => return Err(NOTHING_TO_REPEAT),
            Last::Repetition => return Err(REPEATED_TWICE),
            Last::Item => {}
        }
        self.out.push_str(operator);
        if self.take_if("?") {
            self.out.push('?');
        }
        self.last = Last::Repetition;
        Ok(())
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<(), &'static str> {
        let c = self.take().ok_or(TRAILING_BACKSLASH)?;
        match c {
            'A' | 'z' | 'b' | 'B' => self.out.extend(['\\', c]),
            'Q' => {
                let (text, after) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
                self.rest = after;
                if text.is_empty() {
                    return Ok(());
                }
                text.chars().for_each(|c| self.literal(c));
            }
            _ if self.known_class(c)? => {}
            _ => {
                let c = self.escaped(c)?;
                self.literal(c);
            }
        }
        self.last = Last::Item;
        Ok(())
    }

    /// A class that has a letter of its own, such as `\d` and `\pN`; says whether `c` is one.
    fn known_class(&mut self, c: char) -> Result<bool, &'static str> {
        match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => self.out.extend(['\\', c]),
            'p' | 'P' => {
                let name = if self.take_if("{") {
                    let (name, after) = self.rest.split_once('}').ok_or(BAD_CLASS)?;
                    self.rest = after;
                    name
                } else {
                    let length = self.rest.chars().next().map_or(0, char::len_utf8);
                    let (name, after) = self.rest.split_at(length);
                    self.rest = after;
                    name
                };
                let (is_negated, name) =
                    name.strip_prefix('^').map_or((false, name), |name| (true, name));
                let letter = if (c == 'P') == is_negated { 'p' } else { 'P' };
                let property = if name == "Any" || CATEGORIES.contains(&name) {
                    format!("\\{letter}{{{name}}}")
                } else if is_script(name) {
                    format!("\\{letter}{{sc={name}}}")
                } else {
                    return Err(BAD_CLASS);
                };
                self.out.push_str(&property);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The one character that an escape stands for.
    fn escaped(&mut self, c: char) -> Result<char, &'static str> {
        match c {
            // A single digit but zero would refer back to a group, which RE2 does not know.
            '1'..='7' if !self.rest.starts_with(|next| matches!(next, '0'..='7')) => {
                Err(BAD_ESCAPE)
            }
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    self.take();
                }
                char::from_u32(code).ok_or(BAD_ESCAPE)
            }
            'x' => {
                let digits = if self.take_if("{") {
                    let (digits, after) = self.rest.split_once('}').ok_or(BAD_ESCAPE)?;
                    self.rest = after;
                    digits
                } else {
                    let (digits, after) = self.rest.split_at_checked(2).ok_or(BAD_ESCAPE)?;
                    self.rest = after;
                    digits
                };
                let is_number = digits.chars().all(|c| c.is_ascii_hexdigit());
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_number);
                code.and_then(char::from_u32).ok_or(BAD_ESCAPE)
            }
            'a' => Ok('\u{7}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\u{b}'),
            _ if !c.is_ascii_alphanumeric() => Ok(c),
            _ => Err(BAD_ESCAPE),
        }
    }

    /// What follows an opening bracket, to the closing one.
    fn class(&mut self) -> Result<(), &'static str> {
        self.out.push('[');
        if self.take_if("^") {
            self.out.push('^');
        }
        // A closing bracket that comes first is a character.
        let mut is_first = true;
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            if let Some((name, after)) =
                self.rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]"))
            {
                if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return Err(BAD_CLASS);
                }
                self.out.push_str(&format!("[:{name}:]"));
                self.rest = after;
                continue;
            }
            let c = self.take().ok_or(UNCLOSED_CLASS)?;
            let low = if c == '\\' {
                let c = self.take().ok_or(TRAILING_BACKSLASH)?;
                if self.known_class(c)? {
                    continue;
                }
                self.escaped(c)?
            } else {
                c
            };
            self.class_range(low)?;
        }
        self.take();
        self.out.push(']');
        Ok(())
    }

    /// A character of a class, and those up to another if a dash follows.
    fn class_range(&mut self, low: char) -> Result<(), &'static str> {
        self.out.push_str(&format!("\\x{{{:x}}}", u32::from(low)));
        // A dash that comes last is a character.
        if !self.rest.starts_with('-') || self.rest.starts_with("-]") {
            return Ok(());
        }
        self.take();
        let high = match self.take().ok_or(UNCLOSED_CLASS)? {
            '\\' => {
                let c = self.take().ok_or(TRAILING_BACKSLASH)?;
                self.escaped(c)?
            }
            c => c,
        };
        if high < low {
            return Err(BAD_CLASS);
        }
        self.out.push_str(&format!("-\\x{{{:x}}}", u32::from(high)));
        Ok(())
    }

    /// What follows an opening parenthesis.
    fn group(&mut self) -> Result<(), &'static str> {
        self.last = Last::Nothing;
        if self.take_if("?P<") || self.take_if("?<") {
            let (name, after) = self.rest.split_once('>').ok_or(BAD_NAME)?;
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(is_word) {
                return Err(BAD_NAME);
            }
            if !self.names.insert(name) {
                return Err(NAME_TWICE);
            }
            self.rest = after;
        } else if self.take_if("?") {
            return self.flags();
        }
        // Nobody asks what a group has matched.
        self.open += 1;
        self.out.push_str("(?:");
        Ok(())
    }

    /// The flags of a group, or of what is left of one.
    fn flags(&mut self) -> Result<(), &'static str> {
        const FLAGS: [char; 4] = ['i', 'm', 's', 'U'];
        let mut states = [None; FLAGS.len()];
        let (mut sets, mut is_due) = (true, false);
        let end = loop {
            let c = self.take().ok_or(BAD_GROUP)?;
            if let Some((state, _)) = states.iter_mut().zip(FLAGS).find(|(_, flag)| *flag == c) {
                *state = Some(sets);
                is_due = false;
            } else if c == '-' && sets {
                (sets, is_due) = (false, true);
            } else if matches!(c, ':' | ')') && !is_due {
                break c;
            } else {
                return Err(BAD_GROUP);
            }
        };
        let named = |sets| {
            let each = FLAGS.into_iter().zip(states);
            each.filter(|(_, state)| *state == Some(sets)).map(|(flag, _)| flag).collect::<String>()
        };
        let (on, off) = (named(true), named(false));
        let dash = if off.is_empty() { "" } else { "-" };
        if end == ':' {
            self.open += 1;
            self.out.push_str(&format!("(?{on}{dash}{off}:"));
        } else if !(on.is_empty() && off.is_empty()) {
            self.out.push_str(&format!("(?{on}{dash}{off})"));
        }
        Ok(())
    }
}

/// Whether a script could be called so: the crate knows which there are, but minds neither the case
/// nor an "Is" before it.
fn is_script(name: &str) -> bool {
    let is_marked =
        name.strip_prefix("Is").is_some_and(|name| name.starts_with(char::is_uppercase));
    let mut words = name.split('_');
    !is_marked
        && words.all(|word| {
            word.starts_with(|c: char| c.is_ascii_uppercase())
                && word.chars().all(|c| c.is_ascii_alphabetic())
        })
        && name.chars().any(|c| c.is_ascii_lowercase())
}

/// The counts of a repetition, `n`, `n,` or `n,m`, and what follows its closing brace.
fn counts(rest: &str) -> Option<(&str, &str)> {
    let (text, after) = rest.split_once('}')?;
    let is_count = |digits: &str| {
        let is_padded = digits.len() > 1 && digits.starts_with('0');
        !digits.is_empty() && !is_padded && digits.bytes().all(|digit| digit.is_ascii_digit())
    };
    let (low, high) = text.split_once(',').unwrap_or((text, ""));
    (is_count(low) && (high.is_empty() || is_count(high))).then_some((text, after))
}

fn check_counts(text: &str) -> Result<(), &'static str> {
    let count = |digits: &str| {
        digits.parse::<u32>().ok().filter(|count| *count <= COUNT_MAX).ok_or(BAD_COUNT)
    };
    match text.split_once(',') {
        Some((low, "")) => count(low).map(drop),
        Some((low, high)) if count(low)? > count(high)? => Err(BAD_COUNT),
        Some(_) => Ok(()),
        None => count(text).map(drop),
    }
}

#[cfg(test)]
mod tests;
