//! From `alerts/*.toml` to rules: strict, with file and line for whatever is wrong.

use jiff::{
    SignedDuration,
    civil::{Date, Time},
};
use serde::Deserialize;
use toml::Spanned;

use super::rule::{Exemption, Hours, Kind, Rule, Severity, Tell, Watches};
use crate::{
    policy::{PolicyFile, PolicyProblem, read as read_files},
    purpose::PurposeClass,
};

/// Longest time over which anything is counted.
const WITHIN_HOURS_MAX: u32 = 31 * 24;

/// Longest time that an alert may wait.
const REVIEW_WITHIN_HOURS_MAX: u32 = 31 * 24;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    id: Spanned<String>,
    watches: Spanned<Kind>,
    #[serde(default = "yes")]
    enabled: bool,
    severity: Severity,
    tell: Vec<Tell>,
    review_within_hours: u32,
    officer: String,
    #[serde(default)]
    exempt: Vec<ExemptText>,
    at_least: Option<u32>,
    within_hours: Option<u32>,
    times_peers: Option<u32>,
    peers_at_least: Option<u32>,
    days: Option<Vec<Day>>,
    from: Option<String>,
    until: Option<String>,
    closed_on: Option<Vec<String>>,
    except_purposes: Option<Vec<PurposeClass>>,
    patterns: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExemptText {
    organisation: Option<String>,
    service: Option<String>,
    system: Option<String>,
    role: Option<String>,
    reason: String,
    until: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Day {
    Monday = 1,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

fn yes() -> bool {
    true
}

pub(super) fn read(files: &[PolicyFile]) -> Result<Vec<Rule>, Vec<PolicyProblem>> {
    let mut problems = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    for (file, read) in read_files::<File>(files, "alerts/", &mut problems) {
        for text in read.rules {
            let line = text.id.span().start;
            match text.rule() {
                Err(message) => problems.push(file.problem(line, message)),
                Ok(rule) if rules.iter().any(|earlier| earlier.id == rule.id) => {
                    let message = format!("rule `{}` is defined twice; rename or remove one", rule.id);
                    problems.push(file.problem(line, message));
                }
                Ok(rule) if rules.iter().any(|earlier| is_the_same_one(earlier, &rule)) => {
                    let kind = rule.watches.kind().as_str();
                    let message = format!(
                        "another rule watches `{kind}` already, and one occurrence raises one alert; remove one"
                    );
                    problems.push(file.problem(line, message));
                }
                Ok(rule) => rules.push(rule),
            }
        }
    }
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

fn is_the_same_one(one: &Rule, other: &Rule) -> bool {
    matches!((&one.watches, &other.watches), (Watches::One(one), Watches::One(other)) if one == other)
}

impl Text {
    fn rule(mut self) -> Result<Rule, String> {
        let (id, kind) = (self.id.get_ref().clone(), *self.watches.get_ref());
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=64).contains(&id.len()) || !id.bytes().all(plain) {
            return Err("`id` is 1 to 64 lower-case letters, digits and hyphens".to_owned());
        }
        if !(20..=300).contains(&self.officer.trim().chars().count()) {
            return Err(format!(
                "rule `{id}`: `officer` says to a privacy officer in 20 to 300 characters what it means"
            ));
        }
        if !(1..=REVIEW_WITHIN_HOURS_MAX).contains(&self.review_within_hours) {
            return Err(format!("rule `{id}`: `review_within_hours` is 1 to {REVIEW_WITHIN_HOURS_MAX}"));
        }
        self.check_tell(kind).map_err(|said| format!("rule `{id}`: {said}"))?;
        if Kind::ALWAYS.contains(&kind) && (!self.enabled || !self.exempt.is_empty()) {
            return Err(format!(
                "rule `{id}`: `{}` is always alerted: it cannot be switched off and exempts nobody",
                kind.as_str()
            ));
        }
        let exempt = std::mem::take(&mut self.exempt).into_iter().map(ExemptText::exemption);
        let exempt = exempt.collect::<Result<Vec<_>, _>>().map_err(|said| format!("rule `{id}`: {said}"))?;
        let watches = self.thresholds(kind).map_err(|said| format!("rule `{id}`: {said}"))?;
        Ok(Rule {
            id,
            watches,
            enabled: self.enabled,
            severity: self.severity,
            tell: self.tell,
            review_within: SignedDuration::from_hours(self.review_within_hours.into()),
            officer: self.officer.trim().to_owned(),
            exempt,
        })
    }

    /// Who may be told what: an alert can say something about the person, and whoever asked was not told it.
    fn check_tell(&self, kind: Kind) -> Result<(), String> {
        let (asker, holder) = (self.tell.contains(&Tell::Asker), self.tell.contains(&Tell::Holder));
        let twice = self.tell.len() != usize::from(asker) + usize::from(holder);
        if self.tell.is_empty() || twice {
            return Err("`tell` lists `asker`, `holder` or both, each once".to_owned());
        }
        match kind {
            Kind::RestrictedAttempt if asker => Err(
                "`restricted-attempt` tells the `holder` alone: that a record is restricted is not for who asked"
                    .to_owned(),
            ),
            Kind::BreakGlassUsed | Kind::ObjectionReceived | Kind::GrantMade if asker => {
                Err(format!("`{}` tells the `holder`", kind.as_str()))
            }
            Kind::BreakGlassDeclared | Kind::RelationshipSelfClaimed | Kind::OwnRecord | Kind::Colleague
            | Kind::SameSurname | Kind::SameUprn
                if holder =>
            {
                Err(format!("`{}` tells the `asker`: it is about their own staff", kind.as_str()))
            }
            _ => Ok(()),
        }
    }

    fn thresholds(&mut self, kind: Kind) -> Result<Watches, String> {
        let watches = match kind {
            Kind::RepeatLookUps => {
                Watches::RepeatLookUps { at_least: self.at_least(2)?, within: self.within()? }
            }
            Kind::Enumeration => Watches::Enumeration { at_least: self.at_least(2)?, within: self.within()? },
            Kind::PurposeShopping => Watches::PurposeShopping { within: self.within()? },
            Kind::Volume => Watches::Volume {
                at_least: self.at_least(2)?,
                times_peers: self.times_peers.take().filter(|times| *times > 0).ok_or(
                    "`times_peers` is how many times the median of others, a whole number from 1 on",
                )?,
                peers_at_least: self
                    .peers_at_least
                    .take()
                    .filter(|peers| *peers >= 2)
                    .ok_or("`peers_at_least` is from how many others on there is a median, at least 2")?,
                within: self.within()?,
            },
            Kind::PlaceholderCase => {
                let patterns = self.patterns.take().filter(|patterns| !patterns.is_empty());
                let patterns = patterns.ok_or("`patterns` lists case references that stand for no case")?;
                if patterns.iter().any(|pattern| !is_pattern(pattern)) {
                    return Err("a pattern is 1 to 64 lower-case letters, digits, `.`, `/`, `_` or `-`, and may end with `*`; `*` alone would be every case".to_owned());
                }
                Watches::PlaceholderCase { patterns, within: self.within()? }
            }
            Kind::OutOfHours => Watches::OutOfHours(self.hours()?),
            one => Watches::One(one),
        };
        let left = [
            ("at_least", self.at_least.is_some()),
            ("within_hours", self.within_hours.is_some()),
            ("times_peers", self.times_peers.is_some()),
            ("peers_at_least", self.peers_at_least.is_some()),
            ("days", self.days.is_some()),
            ("from", self.from.is_some()),
            ("until", self.until.is_some()),
            ("closed_on", self.closed_on.is_some()),
            ("except_purposes", self.except_purposes.is_some()),
            ("patterns", self.patterns.is_some()),
        ];
        match left.iter().find(|(_, is_left)| *is_left) {
            Some((name, _)) => Err(format!("`{name}` means nothing to `{}`; remove it", kind.as_str())),
            None => Ok(watches),
        }
    }

    fn at_least(&mut self, least: u32) -> Result<u32, String> {
        let wanted = self.at_least.take().filter(|count| (least..=100_000).contains(count));
        wanted.ok_or_else(|| format!("`at_least` is from how many on, {least} to 100000"))
    }

    fn within(&mut self) -> Result<SignedDuration, String> {
        let hours = self.within_hours.take().filter(|hours| (1..=WITHIN_HOURS_MAX).contains(hours));
        let hours = hours.ok_or_else(|| format!("`within_hours` is 1 to {WITHIN_HOURS_MAX}"))?;
        Ok(SignedDuration::from_hours(hours.into()))
    }

    fn hours(&mut self) -> Result<Hours, String> {
        let time = |text: Option<String>| text.and_then(|text| text.parse::<Time>().ok());
        let (from, until) = (time(self.from.take()), time(self.until.take()));
        let (Some(from), Some(until)) = (from, until) else {
            return Err("`from` and `until` are times of day in London, such as \"07:00\"".to_owned());
        };
        if from >= until {
            return Err("`from` must be before `until`, on one day".to_owned());
        }
        let days = self.days.take().filter(|days| !days.is_empty());
        let days = days.ok_or("`days` lists the days of the week on which people work")?;
        let closed = self.closed_on.take().unwrap_or_default();
        let closed: Result<Vec<Date>, _> = closed.iter().map(|day| day.parse()).collect();
        Ok(Hours {
            days: days.into_iter().map(|day| day as i8).collect(),
            from,
            until,
            closed_on: closed.map_err(|_| "`closed_on` lists days, such as \"2026-12-25\"")?,
            except_purposes: self.except_purposes.take().unwrap_or_default(),
        })
    }
}

impl ExemptText {
    fn exemption(self) -> Result<Exemption, String> {
        let nobody = [&self.organisation, &self.service, &self.system, &self.role];
        if nobody.iter().all(|one| one.is_none()) {
            return Err("an exemption names an `organisation`, `service`, `system` or `role`".to_owned());
        }
        if !(10..=300).contains(&self.reason.trim().chars().count()) {
            return Err("an exemption says in its `reason` why, in 10 to 300 characters".to_owned());
        }
        let until = self.until.parse();
        let until = until.map_err(|_| "an exemption's `until` is a day, such as \"2027-04-01\"")?;
        Ok(Exemption {
            organisation: self.organisation,
            service: self.service,
            system: self.system,
            role: self.role,
            reason: self.reason.trim().to_owned(),
            until,
        })
    }
}

fn is_pattern(pattern: &str) -> bool {
    let begin = pattern.strip_suffix('*').unwrap_or(pattern);
    (1..=64).contains(&begin.len())
        && begin.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'/' | b'_' | b'-')
        })
}
