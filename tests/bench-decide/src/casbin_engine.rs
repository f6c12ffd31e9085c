//! casbin: 1,000 rules, one for each agreement. It is asked about the agreement alone: items and consents have no
//! natural place in its model.

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};

use crate::{
    QUESTIONS,
    setting::{AGREEMENTS, Case, Pair, ROLE, Setting, purpose},
};

const MODEL: &str = "
[request_definition]
r = asker, holder, purpose, scheme, role

[policy_definition]
p = asker, holder, purpose, scheme, role

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.asker == p.asker && r.holder == p.holder && r.purpose == p.purpose && r.scheme == p.scheme && r.role == p.role
";

/// # Errors
/// When the model or the rules are refused.
pub fn answerer(_: &'static Setting) -> anyhow::Result<impl FnMut(usize, Case) -> bool + 'static> {
    let rule = |pair: Pair, case| {
        vec![pair.asker(), pair.holder(), purpose(case).to_string(), "nhs-number".to_owned(), ROLE.to_owned()]
    };
    let rules = (0..AGREEMENTS).map(|number| rule(Pair::of(number), Case::Permit)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let enforcer = runtime.block_on(async {
        let model = DefaultModel::from_str(MODEL).await?;
        let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await?;
        enforcer.add_policies(rules).await?;
        casbin::Result::Ok(enforcer)
    })?;
    let questions: Vec<_> =
        (0..QUESTIONS).map(|number| Case::ALL.map(|case| rule(Pair::asked(number), case))).collect();
    Ok(move |number: usize, case: Case| {
        enforcer.enforce(questions[number][case as usize].clone()).unwrap_or(false)
    })
}
