//! The rules that the steps of agreements keep among themselves: none is left out, and what needs two people has two.

use std::collections::{HashMap, HashSet};

use crate::entry::Actor;

type Broken = (&'static str, String);

/// Where the agreements are that are managed over the API.
#[derive(Default)]
pub(super) struct Courses {
    agreements: HashMap<String, Course>,
    /// Officers who were asked for: by whom.
    asked: HashMap<String, Person>,
    /// What is beside agreements' courses, by agreement and name.
    matters: HashMap<(String, String), Matter>,
    /// Officers in office.
    officers: HashMap<String, Person>,
}

/// Who switched something off, and whose it is to switch on now.
#[derive(PartialEq, Eq, Hash)]
struct Stopped {
    by: Person,
    now: String,
}

#[derive(Default)]
struct Course {
    revision: u64,
    /// Who asked for what a second person has to confirm.
    asked: Option<Person>,
    /// Who switched what off.
    stopped: HashMap<String, HashSet<Stopped>>,
    /// The places that it was asked to be taken: whose, by whom.
    succession: Option<(String, String)>,
    /// The organisations that have left.
    left: HashSet<String>,
}

impl Course {
    /// What an organisation had switched off is its successor's to switch on.
    fn succeed(&mut self) {
        let Some((of, by)) = self.succession.take() else { return };
        for stopped in self.stopped.values_mut() {
            let whose = |one: Stopped| {
                let now = if one.now == of { by.clone() } else { one.now };
                Stopped { now, ..one }
            };
            *stopped = stopped.drain().map(whose).collect();
        }
        if self.left.contains(&of) {
            self.left.insert(by);
        }
    }
}

/// A comment, a dispute or a record.
#[derive(Default)]
struct Matter {
    revision: u64,
    /// The organisations that agreed to publish how it ended.
    publishing: HashSet<String>,
}

/// An organisation and its person.
type Person = (String, String);

fn person(by: &Actor) -> Person {
    let human = by.practitioner.as_ref().or(by.unattended_owner.as_ref());
    (by.organisation.clone(), human.cloned().unwrap_or_default())
}

impl Courses {
    /// A step of an agreement.
    pub(super) fn moved(
        &mut self,
        (agreement, revision): (&str, u64),
        (action, scope): (&str, Option<&str>),
        by: Option<&Actor>,
    ) -> Result<(), Broken> {
        let course = self.agreements.entry(agreement.to_owned()).or_default();
        course.follow(revision)?;
        let Some(by) = by.map(person) else { return Ok(()) };
        let scope = scope.unwrap_or_default().to_owned();
        match action {
            "activation-asked" | "termination-asked" | "succession-asked" => {
                let places = scope.strip_prefix("succession:").and_then(|places| places.split_once(':'));
                course.succession = places.map(|(of, by)| (of.to_owned(), by.to_owned()));
                course.asked = Some(by);
            }
            "confirmed" => {
                let asked = course.asked.take();
                if asked.is_none_or(|asked| asked == by) {
                    return broken(
                        "agreement-one-hand",
                        "it is confirmed by whoever asked for it, or by nobody's asking",
                    );
                }
                course.succeed();
            }
            "rejected" => (course.asked, course.succession) = (None, None),
            "exited" => drop(course.left.insert(by.0)),
            "suspended" => {
                let now = by.0.clone();
                course.stopped.entry(scope).or_default().insert(Stopped { by, now });
            }
            "resumed" => {
                let stopped = course.stopped.entry(scope).or_default();
                let before = stopped.len();
                // What somebody switched off who has left since is anybody's to switch on.
                let left = &course.left;
                stopped.retain(|stopped| {
                    stopped.by == by || (stopped.now != by.0 && !left.contains(&stopped.now))
                });
                if stopped.len() == before {
                    return broken(
                        "agreement-one-hand",
                        "it is switched on by whoever switched it off, or by others",
                    );
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A step of something beside an agreement's course. How a dispute ended is published by two organisations at least.
    pub(super) fn matter_moved(
        &mut self,
        (agreement, matter, revision): (&str, &str, u64),
        action: &str,
        by: Option<&Actor>,
    ) -> Result<(), Broken> {
        let known = self.matters.entry((agreement.to_owned(), matter.to_owned())).or_default();
        known.revision += 1;
        if known.revision != revision {
            return broken("agreement-matter-revision", "it does not follow the step before it");
        }
        if matches!(action, "publication-agreed" | "published") {
            known.publishing.extend(by.map(|by| by.organisation.clone()));
        }
        if action == "published" && known.publishing.len() < 2 {
            return broken("agreement-one-hand", "it is published with one organisation's agreement");
        }
        Ok(())
    }

    /// A signature, which is a step too.
    pub(super) fn signed(
        &mut self,
        (agreement, revision): (&str, u64),
        officer: &str,
        by: &Actor,
    ) -> Result<(), Broken> {
        self.agreements.entry(agreement.to_owned()).or_default().follow(revision)?;
        if self.officers.get(officer) == Some(&person(by)) {
            return Ok(());
        }
        broken("agreement-signatory", "it is signed by somebody who was not in office for it")
    }

    /// Somebody was asked for, came into or left an office.
    pub(super) fn officer_moved(
        &mut self,
        officer: &str,
        action: &str,
        (organisation, of): (&str, &str),
        by: &Actor,
    ) -> Result<(), Broken> {
        let by = person(by);
        match action {
            "asked" => drop(self.asked.insert(officer.to_owned(), by)),
            "registered" => {
                let asked = self.asked.remove(officer);
                if asked.is_none_or(|asked| asked == by) {
                    return broken("agreement-one-hand", "it puts somebody in office with one person's hand");
                }
                self.officers.insert(officer.to_owned(), (organisation.to_owned(), of.to_owned()));
            }
            _ => drop(self.officers.remove(officer)),
        }
        Ok(())
    }
}

impl Course {
    fn follow(&mut self, revision: u64) -> Result<(), Broken> {
        self.revision += 1;
        if revision == self.revision {
            return Ok(());
        }
        broken("agreement-revision", "it does not follow the agreement's step before it")
    }
}

fn broken(rule: &'static str, said: &str) -> Result<(), Broken> {
    Err((rule, said.to_owned()))
}
