//! Who is the same person, as the entries say.

use std::collections::HashMap;

/// Pseudonyms that stand for one person each, joined as entries say that several are one person's.
#[derive(Debug, Default)]
pub struct People {
    /// The name that a joined name leads to; a representative leads nowhere.
    persons: HashMap<String, String>,
    /// How many names a representative stands for, where it is more than itself.
    joined: HashMap<String, u64>,
}

impl People {
    /// The representative of everybody that this name is joined with.
    pub fn person<'a>(&'a self, name: &'a str) -> &'a str {
        let mut person = name;
        while let Some(next) = self.persons.get(person) {
            person = next;
        }
        person
    }

    /// These names are one person's.
    pub fn join(&mut self, names: &[String]) {
        let mut persons: Vec<String> = names.iter().map(|name| self.person(name).to_owned()).collect();
        persons.sort_unstable();
        persons.dedup();
        let size = |joined: &HashMap<String, u64>, person: &String| joined.get(person).copied().unwrap_or(1);
        let Some(most) = persons.iter().max_by_key(|person| size(&self.joined, person)).cloned() else {
            return;
        };
        // The smaller join the larger, so that no way to a representative is long.
        for person in persons.into_iter().filter(|person| *person != most) {
            let sum = size(&self.joined, &most) + size(&self.joined, &person);
            self.joined.insert(most.clone(), sum);
            self.persons.insert(person, most.clone());
        }
    }

    /// Every name that was joined with another, but for those that represent theirs.
    pub fn joined(&self) -> impl Iterator<Item = &str> {
        self.persons.keys().map(String::as_str)
    }
}
