//! The floor: no less can be done than look the flow up and intersect what is asked with what is agreed.

use std::collections::HashMap;

use crate::{
    QUESTIONS,
    setting::{AGREED, AGREEMENTS, Case, Pair, Setting, items_asked, purpose},
};

/// Numbers in place of names, and a bit in place of each item.
pub fn answerer(_: &'static Setting) -> impl FnMut(usize, Case) -> bool + 'static {
    let key = |pair: Pair, case| (pair.holder, pair.asker, purpose(case) as u8);
    let agreed = (1_u64 << AGREED) - 1;
    let flows: HashMap<_, _> =
        (0..AGREEMENTS).map(|number| (key(Pair::of(number), Case::Permit), agreed)).collect();
    let asked = items_asked().into_iter().fold(0_u64, |bits, item| bits | 1 << item);
    let questions: Vec<_> =
        (0..QUESTIONS).map(|number| Case::ALL.map(|case| (key(Pair::asked(number), case), asked))).collect();
    move |number, case| {
        let (key, asked) = questions[number][case as usize];
        flows.get(&key).is_some_and(|agreed| agreed & asked != 0)
    }
}
