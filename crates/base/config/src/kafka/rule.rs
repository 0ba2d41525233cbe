//! Types of config values and what they may be, with Kafka's wording for what they may not.

/// The type of a config, in Kafka's numbers (`DescribeConfigsResponse`, KIP-569).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// 32 bits, signed.
    Int = 3,
    /// 16 bits, signed.
    Short = 4,
    /// 64 bits, signed.
    Long = 5,
    /// A floating-point number.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
    /// The name of a Java class.
    Class = 8,
    /// Text that is never shown.
    Password = 9,
}

impl ConfigType {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's name for the type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// What a value must satisfy beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Anything of the type.
    Any,
    /// A whole number not below this.
    AtLeast(i64),
    /// A whole number between these, both allowed.
    Between(i64, i64),
    /// A whole number between these, or this one besides.
    BetweenOr(i64, i64, i64),
    /// A whole number not below this, or the second besides, for a reason.
    AtLeastOr(i64, i64, &'static str),
    /// A number from 0 to 1.
    Ratio,
    /// One of these texts; in a list, each item.
    OneOf(&'static [&'static str]),
    /// `*`, or `partition:broker` pairs (KIP-73).
    ThrottledReplicas,
    /// `earliest`, `latest`, or `by_duration:` and a duration as ISO 8601 writes it (KIP-932).
    OffsetReset,
}

/// A value read as its type, before rules.
#[derive(Debug, Clone, PartialEq)]
enum Parsed {
    Whole(i64),
    Ratio(f64),
    Flag(bool),
    Text(String),
    Items(Vec<String>),
}

/// The items of a list value: an empty text has none.
pub(crate) fn list_items(value: &str) -> Vec<String> {
    let value = value.trim();
    if value.is_empty() {
        return Vec::new();
    }
    value.split(',').map(|item| item.trim().to_owned()).collect()
}

/// Reads `value` as Kafka would and gives back its canonical text.
///
/// # Errors
/// Kafka's sentence for what is wrong.
pub(crate) fn canonical(
    name: &str,
    kind: ConfigType,
    rule: Rule,
    value: &str,
) -> Result<String, String> {
    let parsed = parse(name, kind, value)?;
    apply(name, rule, &parsed)?;
    Ok(render(&parsed))
}

fn parse(name: &str, kind: ConfigType, value: &str) -> Result<Parsed, String> {
    let invalid = |why: &str| format!("Invalid value {value} for configuration {name}: {why}");
    let not_a_number = || invalid(&format!("Not a number of type {}", kind.name()));
    let text = value.trim();
    match kind {
        ConfigType::Boolean if text.eq_ignore_ascii_case("true") => Ok(Parsed::Flag(true)),
        ConfigType::Boolean if text.eq_ignore_ascii_case("false") => Ok(Parsed::Flag(false)),
        ConfigType::Boolean => Err(invalid("Expected value to be either true or false")),
        ConfigType::Short => {
            text.parse::<i16>().map(|n| Parsed::Whole(n.into())).map_err(|_| not_a_number())
        }
        ConfigType::Int => {
            text.parse::<i32>().map(|n| Parsed::Whole(n.into())).map_err(|_| not_a_number())
        }
        ConfigType::Long => text.parse().map(Parsed::Whole).map_err(|_| not_a_number()),
        ConfigType::Double => text.parse().map(Parsed::Ratio).map_err(|_| not_a_number()),
        ConfigType::List => Ok(Parsed::Items(list_items(value))),
        ConfigType::String | ConfigType::Class => Ok(Parsed::Text(text.to_owned())),
        ConfigType::Password => Ok(Parsed::Text(value.to_owned())),
    }
}

fn render(parsed: &Parsed) -> String {
    match parsed {
        Parsed::Whole(number) => number.to_string(),
        Parsed::Ratio(number) => format!("{number:?}"),
        Parsed::Flag(flag) => flag.to_string(),
        Parsed::Text(text) => text.clone(),
        Parsed::Items(items) => items.join(","),
    }
}

fn apply(name: &str, rule: Rule, parsed: &Parsed) -> Result<(), String> {
    let invalid = |why: &str| {
        let shown = match parsed {
            Parsed::Items(items) => format!("[{}]", items.join(", ")),
            other => render(other),
        };
        Err(format!("Invalid value {shown} for configuration {name}: {why}"))
    };
    match (rule, parsed) {
        (Rule::AtLeast(low), Parsed::Whole(number)) if *number < low => {
            invalid(&format!("Value must be at least {low}"))
        }
        (Rule::Between(low, _), Parsed::Whole(number)) if *number < low => {
            invalid(&format!("Value must be at least {low}"))
        }
        (Rule::Between(_, high), Parsed::Whole(number)) if *number > high => {
            invalid(&format!("Value must be no more than {high}"))
        }
        (Rule::BetweenOr(low, high, other), Parsed::Whole(number))
            if (*number < low || *number > high) && *number != other =>
        {
            invalid(&format!("Value must be between {low} and {high} or equal to {other}"))
        }
        (Rule::AtLeastOr(low, other, why), Parsed::Whole(number))
            if *number < low && *number != other =>
        {
            invalid(&format!("Value must be at least {low} or equal to {other}: {why}"))
        }
        (Rule::Ratio, Parsed::Ratio(number)) if number.is_nan() || *number < 0.0 => {
            invalid("Value must be at least 0")
        }
        (Rule::Ratio, Parsed::Ratio(number)) if *number > 1.0 => {
            invalid("Value must be no more than 1")
        }
        (Rule::OneOf(allowed), Parsed::Text(text)) => one_of(name, text, allowed),
        (Rule::OneOf(allowed), Parsed::Items(items)) => {
            if items.iter().any(String::is_empty) {
                return Err(format!("Configuration '{name}' values must not be empty."));
            }
            items.iter().try_for_each(|item| one_of(name, item, allowed))
        }
        (Rule::ThrottledReplicas, Parsed::Items(items)) if !are_throttled_replicas(items) => {
            invalid(&format!(
                "{name} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            ))
        }
        (Rule::OffsetReset, Parsed::Text(text)) if !is_offset_reset(text) => invalid(
            "Invalid value `by_duration` must be followed by a duration as ISO 8601 writes it, such \
             as PT1H; else it must be earliest or latest",
        ),
        _ => Ok(()),
    }
}

fn is_offset_reset(text: &str) -> bool {
    match text.split_once(':') {
        None => matches!(text.to_ascii_lowercase().as_str(), "earliest" | "latest"),
        Some((word, duration)) => word.eq_ignore_ascii_case("by_duration") && is_iso(duration),
    }
}

/// Whether a text is a duration of ISO 8601 in days, hours, minutes and seconds: `P1DT2H3M4.5S`.
fn is_iso(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    let Some(rest) = text.strip_prefix('P') else { return false };
    let (days, time) = rest.split_once('T').map_or((rest, None), |(days, time)| (days, Some(time)));
    let is_number = |number: &str| {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        [whole, fraction].iter().all(|part| {
            !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let has_days = days.strip_suffix('D').is_some_and(|n| is_number(n) && !n.contains('.'));
    if !has_days && !days.is_empty() {
        return false;
    }
    let Some(mut time) = time else { return has_days };
    let mut any = false;
    for unit in ['H', 'M', 'S'] {
        let Some((number, rest)) = time.split_once(unit) else { continue };
        if !is_number(number) || (unit != 'S' && number.contains('.')) {
            return false;
        }
        (time, any) = (rest, true);
    }
    any && time.is_empty()
}

fn one_of(name: &str, text: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&text) {
        return Ok(());
    }
    let allowed = allowed.join(", ");
    Err(format!("Invalid value {text} for configuration {name}: String must be one of: {allowed}"))
}

fn are_throttled_replicas(items: &[String]) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pair = |item: &String| {
        item.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
    };
    matches!(items, [only] if only == "*") || items.iter().all(pair)
}

#[cfg(test)]
mod tests;
