//! Rules as text: a failing run prints it, and a test reads it back. The words are those of [`Rule`].

use super::rule::{Call, Errno, Fault, Rule};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{error, fmt, ops::Range, str::FromStr};

/// Rules in order: of those that match a call the first decides. As text one rule per line; empty lines, and
/// lines that begin with `#`, say nothing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rules(pub Vec<Rule>);

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|rule| writeln!(f, "{rule}"))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.calls.is_empty() {
            let calls: Vec<_> = self.calls.iter().map(|call| call.name()).collect();
            write!(f, "call={} ", calls.join(","))?;
        }
        if let Some(name) = &self.name {
            write!(f, "name={} ", escaped(name))?;
        }
        if let Some(offsets) = &self.offsets {
            write!(f, "at={}..{} ", offsets.start, offsets.end)?;
        }
        if self.skip > 0 {
            write!(f, "skip={} ", self.skip)?;
        }
        if let Some(times) = self.times {
            write!(f, "times={times} ")?;
        }
        if self.chance_percent < 100 {
            write!(f, "chance={} ", self.chance_percent)?;
        }
        if self.chance_percent < 100 || self.seed != 0 {
            write!(f, "seed={} ", self.seed)?;
        }
        write!(f, "fault={}", self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Fail(errno) => write!(f, "fail:{}", errno.name()),
            Fault::FailLate(errno) => write!(f, "fail_late:{}", errno.name()),
            Fault::Cut(bytes, errno) => write!(f, "cut:{bytes}:{}", errno.name()),
            Fault::Flip(bit) => write!(f, "flip:{bit}"),
            Fault::Elsewhere(offset) => write!(f, "elsewhere:{offset}"),
            Fault::Delay { us } => write!(f, "delay:{us}"),
            Fault::Lie => f.write_str("lie"),
            Fault::FailThenLie => f.write_str("fail_then_lie"),
            Fault::PowerOff => f.write_str("power_off"),
        }
    }
}

/// Which word of the text of a rule is wrong, and what is expected in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleError(String);

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for RuleError {}

impl FromStr for Rules {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rules, RuleError> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let rules =
            lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
                line.parse::<Rule>().map_err(|error| RuleError(format!("line {number}: {error}")))
            });
        Ok(Rules(rules.collect::<Result<_, _>>()?))
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        let mut fault = None;
        let mut rule = Rule::new(Fault::PowerOff);
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| wrong(word, "<key>=<value>"))?;
            match key {
                "call" => rule.calls = value.split(',').map(call).collect::<Result<_, _>>()?,
                "name" => rule.name = Some(unescaped(value)?),
                "at" => rule.offsets = Some(range(value)?),
                "skip" => rule.skip = number(value)?,
                "times" => rule.times = Some(number(value)?),
                "chance" => {
                    let percent = number(value)?;
                    let is_valid = |percent: &u8| *percent <= 100;
                    let percent = u8::try_from(percent).ok().filter(is_valid);
                    rule.chance_percent = percent.ok_or_else(|| wrong(value, "0 to 100"))?;
                }
                "seed" => rule.seed = number(value)?,
                "fault" => fault = Some(value.parse()?),
                _ => return Err(wrong(key, "call, name, at, skip, times, chance, seed or fault")),
            }
        }
        rule.fault = fault.ok_or_else(|| wrong(text, "fault=<fault>"))?;
        match rule.calls.iter().find(|call| !rule.fault.suits(**call)) {
            Some(call) => {
                let text = format!("the fault `{}` means nothing for `{}`", rule.fault, call.name());
                Err(RuleError(text))
            }
            None => Ok(rule),
        }
    }
}

impl FromStr for Fault {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Fault, RuleError> {
        let parts: Vec<&str> = text.split(':').collect();
        Ok(match parts[..] {
            ["fail", name] => Fault::Fail(errno(name)?),
            ["fail_late", name] => Fault::FailLate(errno(name)?),
            ["cut", bytes, name] => {
                let bytes = usize::try_from(number(bytes)?).map_err(|_| wrong(bytes, "fewer bytes"))?;
                Fault::Cut(bytes, errno(name)?)
            }
            ["flip", bit] => Fault::Flip(number(bit)?),
            ["elsewhere", offset] => Fault::Elsewhere(number(offset)?),
            ["delay", us] => Fault::Delay { us: number(us)? },
            ["lie"] => Fault::Lie,
            ["fail_then_lie"] => Fault::FailThenLie,
            ["power_off"] => Fault::PowerOff,
            _ => {
                let expected = "fail:<errno>, fail_late:<errno>, cut:<bytes>:<errno>, flip:<bit>, \
                                elsewhere:<offset>, delay:<microseconds>, lie, fail_then_lie or power_off";
                return Err(wrong(text, expected));
            }
        })
    }
}

fn wrong(found: &str, expected: &str) -> RuleError {
    RuleError(format!("`{found}` stands where {expected} is expected"))
}

fn call(name: &str) -> Result<Call, RuleError> {
    let found = Call::ALL.into_iter().find(|call| call.name() == name);
    found.ok_or_else(|| wrong(name, &format!("one of {}", Call::ALL.map(Call::name).join(", "))))
}

fn errno(name: &str) -> Result<Errno, RuleError> {
    let found = Errno::ALL.into_iter().find(|errno| errno.name() == name);
    found.ok_or_else(|| wrong(name, &format!("one of {}", Errno::ALL.map(Errno::name).join(", "))))
}

fn number(text: &str) -> Result<u64, RuleError> {
    text.parse().map_err(|_| wrong(text, "a number"))
}

fn range(text: &str) -> Result<Range<u64>, RuleError> {
    let (start, end) = text.split_once("..").ok_or_else(|| wrong(text, "<first byte>..<end>"))?;
    Ok(number(start)?..number(end)?)
}

/// White space would end the word: it and the sign of escapes are written as code points.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_whitespace() || c == '%' {
            text += &format!("%{:x};", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

fn unescaped(text: &str) -> Result<String, RuleError> {
    let mut parts = text.split('%');
    let mut name = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let escape = part.split_once(';').and_then(|(code, rest)| {
            let c = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
            Some((c, rest))
        });
        let (c, rest) = escape.ok_or_else(|| wrong(part, "<code point>;"))?;
        name.push(c);
        name += rest;
    }
    Ok(name)
}
