//! How a record is read and cut down, in the simplest way: a tree is made of the document, and each selector walks it.
//!
//! It is what the minimiser is held against, in the tests and the fuzz targets, on every document alike. It knows the
//! catalogue and the permit, and nothing of how the minimiser goes about it.

use jiff::{Timestamp, civil::Date};
use sharing::{
    Provider, SubjectIdentifier, SubjectScheme,
    agreement::london_day,
    catalogue::{DataItem, Form, Mark, Protocol, Sign},
    decide::{ConfirmedPermit, PermittedItem},
    identifier::ItemId,
    json::{Json, Limits, parse},
    minimise::{DISCLOSED_ITEM_URL, ExamineFault, Familiar, age_years},
    selector::{Selector, Step},
    subject::RecordFacts,
};

/// A record holder's answer that is about the person asked for.
pub struct Examined {
    record: Json,
    /// What the record says about its person that bears on the decision.
    pub facts: RecordFacts,
}

/// A record cut down to what may leave.
pub struct MinimisedRecord {
    /// What is in it.
    pub items: Vec<PermittedItem>,
    /// What may leave and is not there.
    pub absent: Vec<ItemId>,
    /// The record.
    pub text: String,
    /// The same as a smaller Patient.
    pub patient: Option<String>,
}

/// Every surname and home in the record, as the practitioner's own are compared with.
pub fn familiar(provider: &Provider, examined: &Examined) -> Vec<(Familiar, String)> {
    let places = [
        (Familiar::Surname, provider.subject.surname.as_ref()),
        (Familiar::Uprn, provider.subject.uprn.as_ref()),
    ];
    let texts = |(which, place): (Familiar, Option<&Selector>)| {
        let values = place.into_iter().flat_map(|place| select(place, &examined.record));
        values.filter_map(Json::as_str).map(|text| (which, text.to_owned())).collect::<Vec<_>>()
    };
    places.into_iter().flat_map(texts).collect()
}

/// Reads a record holder's answer about `subject`.
pub fn examine(
    provider: &Provider,
    subject: &SubjectIdentifier,
    body: &[u8],
) -> Result<Examined, ExamineFault> {
    let document = parse(body, &Limits::default())?;
    let record = match provider.provider.protocol {
        Protocol::Json if matches!(document, Json::Object(_)) => &document,
        Protocol::Json => return Err(ExamineFault::Unexpected),
        Protocol::FhirR4Patient => patient_in(&document, provider, subject)?,
    };
    let identifiers = identifiers(provider, record)?;
    if !is_about(&identifiers, subject) {
        return Err(ExamineFault::SubjectMismatch);
    }
    let places = &provider.subject;
    let birth_date = places
        .birth_date
        .as_ref()
        .and_then(|place| first_str(place, record))
        .and_then(|text| text.parse().ok());
    let source_time =
        places.source_time.as_ref().and_then(|place| first_str(place, record)).and_then(plausible_time);
    let around = Some(&document).filter(|document| !std::ptr::eq(*document, record));
    let said = places.restricted.iter().map(|mark| marked(mark, record, around));
    let said = said.max().unwrap_or(Said::Nothing);
    let facts = RecordFacts {
        identifiers,
        restricted: said == Said::Marked,
        unconfirmed: said == Said::Unreadable || places.restriction_check.is_some(),
        deceased: places.deceased.iter().any(|sign| shows(sign, record)),
        birth_date,
        source_time,
    };
    Ok(Examined { record: record.clone(), facts })
}

/// Every identifier in the record. One that is not of its scheme makes the whole record unusable.
fn identifiers(provider: &Provider, record: &Json) -> Result<Vec<SubjectIdentifier>, ExamineFault> {
    let mut found: Vec<SubjectIdentifier> = Vec::new();
    for place in &provider.subject.identifiers {
        for value in select(&place.select, record) {
            if *value == Json::Null {
                continue;
            }
            let text = value.as_str().ok_or(ExamineFault::SubjectMismatch)?;
            let identifier = SubjectIdentifier::parse(place.scheme.clone(), text);
            let identifier = identifier.map_err(|_| ExamineFault::SubjectMismatch)?;
            if !found.contains(&identifier) {
                found.push(identifier);
            }
        }
    }
    Ok(found)
}

/// The asked identifier is there, and no other identifier of the same scheme is.
fn is_about(identifiers: &[SubjectIdentifier], subject: &SubjectIdentifier) -> bool {
    let mut same_scheme =
        identifiers.iter().filter(|identifier| identifier.scheme() == subject.scheme()).peekable();
    same_scheme.peek().is_some() && same_scheme.all(|identifier| identifier == subject)
}

/// What a place says of restriction, the gravest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Elsewhere,
    Nothing,
    Unrestricted,
    Unreadable,
    Marked,
}

/// What a mark is, in the record or in the Bundle around it.
fn marked(mark: &Mark, record: &Json, around: Option<&Json>) -> Said {
    let steps = mark.select.steps();
    let own = match said(mark, &[], steps, record) {
        Said::Elsewhere | Said::Nothing if mark.required => Said::Unreadable,
        own => own,
    };
    own.max(around.map_or(Said::Nothing, |around| said(mark, &[], steps, around)))
}

fn said(mark: &Mark, filters: &[(String, String)], steps: &[Step], value: &Json) -> Said {
    match value {
        Json::Array(elements) if elements.is_empty() => Said::Unreadable,
        Json::Array(elements) => {
            let each = elements.iter().map(|element| match element {
                Json::Array(_) => Said::Unreadable,
                element => match said_once(mark, filters, steps, element) {
                    Said::Nothing => Said::Unreadable,
                    said => said,
                },
            });
            each.max().unwrap()
        }
        value => said_once(mark, filters, steps, value),
    }
}

fn said_once(mark: &Mark, filters: &[(String, String)], steps: &[Step], value: &Json) -> Said {
    if *value == Json::Null {
        return Said::Nothing;
    }
    let compared = |name: &String| value.member(name).and_then(Json::as_str);
    if filters.iter().any(|(name, text)| compared(name) != Some(text)) {
        let is_other = filters.iter().any(|(name, text)| compared(name).is_some_and(|other| other != text));
        return if is_other { Said::Elsewhere } else { Said::Unreadable };
    }
    let Some((step, rest)) = steps.split_first() else {
        let unless = |text: &str| mark.unless.iter().any(|listed| listed == text);
        let is_unrestricted = match value {
            Json::Bool(false) if mark.unless.is_empty() => true,
            Json::Bool(answer) => unless(&answer.to_string()),
            Json::String(text) => unless(text),
            _ => false,
        };
        return if is_unrestricted { Said::Unrestricted } else { Said::Marked };
    };
    match value {
        Json::Object(_) => {
            value.member(&step.key).map_or(Said::Nothing, |value| said(mark, &step.filters, rest, value))
        }
        _ => Said::Unreadable,
    }
}

fn shows(sign: &Sign, record: &Json) -> bool {
    select(&sign.select, record).into_iter().any(|value| match value {
        Json::Null | Json::Bool(false) => false,
        Json::String(text) if !sign.equals.is_empty() => sign.equals.contains(text),
        Json::Bool(true) if !sign.equals.is_empty() => sign.equals.iter().any(|text| text == "true"),
        _ => sign.equals.is_empty(),
    })
}

/// Only a time is passed on as one: the place may hold anything.
fn plausible_time(text: &str) -> Option<String> {
    text.parse::<Timestamp>().ok().map(|time| time.to_string())
}

/// Cuts the record down. `at` is when ages and periods are reckoned.
pub fn minimise(
    confirmed: &ConfirmedPermit,
    provider: &Provider,
    examined: &Examined,
    at: Timestamp,
) -> MinimisedRecord {
    let today = london_day(at);
    let (mut values, mut released, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for permitted in confirmed.permit().items() {
        let item = provider.item(&permitted.item);
        match item.and_then(|item| release(item, permitted.form, provider, &examined.record, today)) {
            Some((places, value)) => {
                values.push((permitted.clone(), value));
                released.push(places);
            }
            None => absent.push(permitted.item.clone()),
        }
    }
    let patient = (provider.provider.protocol == Protocol::FhirR4Patient).then(|| {
        smaller_patient(&released, &values, &examined.record, confirmed.permit().subject(), today).to_text()
    });
    let record = values.iter().map(|(item, value)| (item.item.as_str().to_owned(), value.clone())).collect();
    let items = values.into_iter().map(|(item, _)| item).collect();
    MinimisedRecord { items, absent, text: Json::Object(record).to_text(), patient }
}

/// An item that leaves, and the places of the record that it is read from.
struct Released<'a> {
    item: &'a DataItem,
    form: Form,
    places: Vec<&'a Json>,
}

/// The item's value as it leaves: the first that there is, or all of them where the item is a list. Yes or no is
/// said once, because a list of it would tell how many there are.
fn release<'a>(
    item: &'a DataItem,
    form: Form,
    provider: &Provider,
    record: &'a Json,
    today: Date,
) -> Option<(Released<'a>, Json)> {
    let fhir = provider.provider.protocol == Protocol::FhirR4Patient;
    let is_meant = |place: &Json| {
        let is_old =
            fhir && item.period.is_some() && place.member("use").and_then(Json::as_str) == Some("old");
        !matches!(place, Json::Array(_)) && !is_old && in_force(item, place, today)
    };
    let in_force = select_where(&item.select, record, is_meant);
    let found = in_force.into_iter().filter_map(|place| Some((place, leaf(item, form, place, today)?)));
    let all = item.many && form != Form::YesNo;
    let mut found: Vec<_> = found.collect();
    if form == Form::YesNo {
        // Those that say yes come first.
        found.sort_by_key(|(_, value)| *value != Json::Bool(true));
    }
    let (places, mut values): (Vec<_>, Vec<_>) =
        found.into_iter().take(if all { usize::MAX } else { 1 }).unzip();
    let value = if all && !values.is_empty() { Json::Array(values) } else { values.pop()? };
    Some((Released { item, form, places }, value))
}

/// Whether anything is in it that changes the meaning of what a place leads through.
fn is_modified(provider: &Provider, document: &Json) -> bool {
    let in_entries = deep(document).filter_map(|bundle| bundle.member("entry")).flat_map(deep);
    let resources = in_entries.clone().filter_map(|entry| entry.member("resource")).flat_map(deep);
    let roots: Vec<_> = deep(document).chain(resources).collect();
    let is_said = |place: &Json, name: &str| place.member(name).is_some_and(|value| *value != Json::Null);
    if roots.iter().any(|root| is_said(root, "implicitRules") || is_said(root, "modifierExtension"))
        || in_entries.into_iter().any(|entry| is_said(entry, "modifierExtension"))
    {
        return true;
    }
    let places = &provider.subject;
    let selectors = places.identifiers.iter().map(|place| &place.select);
    let selectors = selectors
        .chain(places.restricted.iter().map(|mark| &mark.select))
        .chain(places.deceased.iter().map(|sign| &sign.select))
        .chain([&places.birth_date, &places.source_time, &places.surname, &places.uprn].into_iter().flatten())
        .chain(provider.items.iter().map(|item| &item.select));
    selectors.into_iter().any(|selector| {
        let mut here = roots.clone();
        selector.steps().iter().any(|step| {
            here = here.iter().filter_map(|place| place.member(&step.key)).flat_map(deep).collect();
            here.iter().any(|place| is_said(place, "modifierExtension"))
        })
    })
}

/// The value, or the elements of an array and of the arrays in it.
fn deep(value: &Json) -> std::vec::IntoIter<&Json> {
    let all: Vec<_> = match value {
        Json::Array(elements) => elements.iter().flat_map(deep).collect(),
        one => vec![one],
    };
    all.into_iter()
}

/// Whether it is the person's record still.
fn is_current(patient: &Json) -> bool {
    let is_active = matches!(patient.member("active"), None | Some(Json::Null | Json::Bool(true)));
    let links = patient.member("link").filter(|links| **links != Json::Null);
    let kind = |link: &Json| link.member("type").and_then(Json::as_str).map(str::to_owned);
    is_active
        && links.is_none_or(|links| {
            elements(links).all(|link| kind(link).is_some_and(|kind| kind == "replaces" || kind == "seealso"))
        })
}

/// The one Patient about `subject`: the document itself, or the one entry of a searchset that is.
fn patient_in<'a>(
    document: &'a Json,
    provider: &Provider,
    subject: &SubjectIdentifier,
) -> Result<&'a Json, ExamineFault> {
    let kind = |resource: &Json| resource.member("resourceType").and_then(Json::as_str).map(str::to_owned);
    let is_bundle = match kind(document).as_deref() {
        Some("Patient") => false,
        Some("Bundle") => true,
        _ => return Err(ExamineFault::Unexpected),
    };
    if is_modified(provider, document) {
        return Err(ExamineFault::SubjectMismatch);
    }
    if !is_bundle {
        return if is_current(document) { Ok(document) } else { Err(ExamineFault::SubjectMismatch) };
    }
    if document.member("type").and_then(Json::as_str) != Some("searchset") {
        return Err(ExamineFault::Unexpected);
    }
    let entries = match document.member("entry") {
        Some(Json::Array(entries)) => entries.as_slice(),
        None => &[],
        Some(_) => return Err(ExamineFault::Unexpected),
    };
    let mut about = Vec::new();
    for entry in entries {
        if ["request", "response"]
            .iter()
            .any(|name| entry.member(name).is_some_and(|done| *done != Json::Null))
        {
            return Err(ExamineFault::SubjectMismatch);
        }
        let resource = entry.member("resource").ok_or(ExamineFault::Unexpected)?;
        let mode = match kind(resource).as_deref() {
            Some("Patient") => "match",
            Some("OperationOutcome") => "outcome",
            _ => return Err(ExamineFault::Unexpected),
        };
        match entry.member("search") {
            None | Some(Json::Null) => {}
            Some(search @ Json::Object(_)) => match search.member("mode") {
                None | Some(Json::Null) => {}
                Some(said) if said.as_str() == Some(mode) => {}
                Some(_) => return Err(ExamineFault::Unexpected),
            },
            Some(_) => return Err(ExamineFault::Unexpected),
        }
        if mode == "match" {
            let found = identifiers(provider, resource)?;
            let mut same = found.into_iter().filter(|one| one.scheme() == subject.scheme());
            match (same.next(), same.next()) {
                (Some(one), None) if one == *subject => about.push(resource),
                (Some(_), None) => {}
                _ => return Err(ExamineFault::SubjectMismatch),
            }
        }
    }
    match about.as_slice() {
        [] => Err(ExamineFault::NoRecord),
        [found] if is_current(found) => Ok(found),
        _ => Err(ExamineFault::SubjectMismatch),
    }
}

/// A released item on its way through the record: the steps still to go, and the places at their end.
#[derive(Clone, Copy)]
struct Trail<'a> {
    released: &'a Released<'a>,
    taken: usize,
}

impl<'a> Trail<'a> {
    fn steps(&self) -> &'a [Step] {
        self.released.item.select.steps()
    }

    /// The step that led to this node.
    fn arrived_by(&self) -> Option<&'a Step> {
        self.taken.checked_sub(1).and_then(|last| self.steps().get(last))
    }

    /// This very node was released, not merely one like it: the two forms of a record say the same.
    fn ends_at(&self, node: &Json) -> bool {
        self.taken == self.steps().len()
            && self.released.places.iter().any(|place| std::ptr::eq(*place, node))
    }
}

/// The released items as a valid, smaller Patient. Values stay in the element they came from; a form that has
/// no element of its own becomes an extension.
///
/// Source: <https://hl7.org/fhir/R4/search.html#summary> (SUBSETTED), <https://hl7.org/fhir/R4/patient.html>.
fn smaller_patient(
    released: &[Released<'_>],
    values: &[(PermittedItem, Json)],
    record: &Json,
    subject: &SubjectIdentifier,
    today: Date,
) -> Json {
    let in_place =
        |form: Form| matches!(form, Form::AsIs | Form::Year | Form::Initial | Form::PostcodeDistrict);
    let kept_in_place = released.iter().filter(|released| in_place(released.form));
    let trails: Vec<_> = kept_in_place.map(|released| Trail { released, taken: 0 }).collect();
    let mut members = vec![("resourceType".to_owned(), Json::string("Patient"))];
    if *subject.scheme() == SubjectScheme::NhsNumber {
        members.push(("id".to_owned(), Json::string(subject.as_str())));
    }
    members.push((
        "meta".to_owned(),
        Json::object([(
            "tag",
            Json::Array(vec![Json::object([
                ("system", Json::string("http://terminology.hl7.org/CodeSystem/v3-ObservationValue")),
                ("code", Json::string("SUBSETTED")),
            ])]),
        )]),
    ));
    if let Some(Json::Object(kept)) = prune(record, &trails, today) {
        let reserved = ["resourceType", "id", "meta", "extension"];
        members.extend(kept.into_iter().filter(|(key, _)| !reserved.contains(&key.as_str())));
    }
    let extensions: Vec<_> =
        values.iter().filter(|(permitted, _)| !in_place(permitted.form)).filter_map(extension).collect();
    if !extensions.is_empty() {
        members.push(("extension".to_owned(), Json::Array(extensions)));
    }
    Json::Object(members)
}

fn extension((permitted, value): &(PermittedItem, Json)) -> Option<Json> {
    let typed = match value {
        Json::Bool(answer) => ("valueBoolean", Json::Bool(*answer)),
        Json::String(text) => ("valueString", Json::string(text.clone())),
        Json::Null | Json::Number(_) | Json::Array(_) | Json::Object(_) => return None,
    };
    let item =
        Json::object([("url", Json::string("item")), ("valueCode", Json::string(permitted.item.as_str()))]);
    let form =
        Json::object([("url", Json::string("form")), ("valueCode", Json::string(permitted.form.as_str()))]);
    let value = Json::object([("url", Json::string("value")), typed]);
    Some(Json::object([
        ("url", Json::string(DISCLOSED_ITEM_URL)),
        ("extension", Json::Array(vec![item, form, value])),
    ]))
}

/// The node with nothing left but what the trails reach and the discriminators on their way.
fn prune(node: &Json, trails: &[Trail<'_>], today: Date) -> Option<Json> {
    if trails.is_empty() {
        return None;
    }
    match node {
        Json::Array(items) => {
            let kept: Vec<_> = items.iter().filter_map(|item| prune(item, trails, today)).collect();
            (!kept.is_empty()).then_some(Json::Array(kept))
        }
        Json::Object(members) => prune_object(node, members, trails, today),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            let released = trails.iter().find(|trail| trail.ends_at(node)).map(|trail| trail.released)?;
            leaf(released.item, released.form, node, today)
        }
    }
}

fn prune_object(node: &Json, members: &[(String, Json)], trails: &[Trail<'_>], today: Date) -> Option<Json> {
    let admitted = |trail: &&Trail<'_>| trail.arrived_by().is_none_or(|step| admits(step, node));
    let trails: Vec<Trail<'_>> = trails.iter().filter(admitted).copied().collect();
    let mut kept = Vec::new();
    let mut reached = false;
    for (key, value) in members {
        let ends_here = |trail: &Trail<'_>| trail.ends_at(node) && trail.released.item.fields.contains(key);
        let whole = trails.iter().any(ends_here).then(|| plain(value)).flatten();
        let onward: Vec<_> = trails
            .iter()
            .filter(|trail| trail.steps().get(trail.taken).is_some_and(|step| step.key == *key))
            .map(|trail| Trail { taken: trail.taken + 1, ..*trail })
            .collect();
        if let Some(value) = whole.or_else(|| prune(value, &onward, today)) {
            reached = true;
            kept.push((key.clone(), value));
        } else if trails.iter().any(|trail| discriminates(trail, key)) {
            kept.push((key.clone(), value.clone()));
        }
    }
    reached.then_some(Json::Object(kept))
}

/// The member is one that the trail's filter compared with a constant, so its value is known already.
fn discriminates(trail: &Trail<'_>, key: &str) -> bool {
    trail.arrived_by().is_some_and(|step| step.filters.iter().any(|(name, _)| name == key))
}

/// Whether this place on the way to the item has no period that the item minds, or one that covers `today`. A
/// period that cannot be read does not.
fn in_force(item: &DataItem, place: &Json, today: Date) -> bool {
    let period = item.period.as_ref().and_then(|member| place.member(member));
    let Some(period) = period.filter(|period| **period != Json::Null) else { return true };
    if !matches!(period, Json::Object(_)) {
        return false;
    }
    let bound = |name: &str| match period.member(name) {
        Some(value) => Some(value.as_str().and_then(day)),
        None => period.member(&format!("_{name}")).filter(|value| **value != Json::Null).map(|_| None),
    };
    let begun = bound("start").is_none_or(|start| start.is_some_and(|start| start <= today));
    let not_over = bound("end").is_none_or(|end| end.is_some_and(|end| today <= end));
    begun && not_over
}

/// The day of a FHIR date or dateTime; a bare year or month counts from its first day.
fn day(text: &str) -> Option<Date> {
    let mut parts = text.splitn(2, 'T');
    let (date, time) = (parts.next()?, parts.next().unwrap_or(""));
    if !date.chars().all(|one| "0123456789-".contains(one))
        || !time.chars().all(|one| "0123456789:.+-Z".contains(one))
    {
        return None;
    }
    let whole = match date.len() {
        4 => format!("{date}-01-01"),
        7 => format!("{date}-01"),
        _ => date.to_owned(),
    };
    whole.parse().ok()
}

/// The value as it leaves, or nothing where the place holds nothing that may.
fn leaf(item: &DataItem, form: Form, place: &Json, today: Date) -> Option<Json> {
    match form {
        Form::AsIs if item.fields.is_empty() => plain(place),
        Form::AsIs => object(item, place),
        Form::YesNo => yes_no(place),
        Form::Initial => place.as_str().and_then(initial).map(Json::String),
        Form::Year => place.as_str().and_then(day).map(|date| Json::string(format!("{:04}", date.year()))),
        Form::AgeBand => place
            .as_str()
            .and_then(|text| text.parse().ok())
            .map(|born| Json::string(age_band(age_years(born, today)))),
        Form::PostcodeDistrict => place.as_str().and_then(postcode_district).map(Json::String),
    }
}

/// A scalar, or an array of scalars. An object here was not expected, so it stays.
fn plain(place: &Json) -> Option<Json> {
    match place {
        Json::Null | Json::Object(_) => None,
        Json::Array(items) => {
            let left: Option<Vec<_>> =
                items.iter().map(|item| item.is_scalar().then(|| leaves(item)).flatten()).collect();
            left.filter(|left| !left.is_empty()).map(Json::Array)
        }
        scalar => leaves(scalar),
    }
}

/// As every reader reads it alike, and people see all of it.
fn leaves(scalar: &Json) -> Option<Json> {
    match scalar {
        Json::Number(number) => {
            let mantissa = number.to_lowercase();
            let mantissa = mantissa.split('e').next().unwrap_or("");
            let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
            let size: f64 = number.parse().unwrap_or(f64::INFINITY);
            let is_alike = digits.trim_start_matches('0').len() <= 17 && (-1e15..=1e15).contains(&size);
            is_alike.then(|| scalar.clone())
        }
        Json::String(text) => {
            let odd = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}').collect::<Vec<_>>();
            let is_odd = |one: char| !"\n\r\t".contains(one) && (one.is_control() || odd.contains(&one));
            let all: Vec<char> = text.chars().map(|one| if is_odd(one) { '\u{fffd}' } else { one }).collect();
            let kept: String = all.iter().take(4_000).collect();
            Some(Json::string(if all.len() > 4_000 { format!("{kept} […]") } else { kept }))
        }
        other => Some(other.clone()),
    }
}

fn object(item: &DataItem, place: &Json) -> Option<Json> {
    let Json::Object(members) = place else { return None };
    let listed = members.iter().filter(|(key, _)| item.fields.contains(key));
    let kept: Vec<_> = listed.filter_map(|(key, value)| Some((key.clone(), plain(value)?))).collect();
    (!kept.is_empty()).then_some(Json::Object(kept))
}

fn yes_no(place: &Json) -> Option<Json> {
    match place {
        Json::Null => None,
        Json::Bool(answer) => Some(Json::Bool(*answer)),
        Json::String(text) => {
            let no = "0|f|false|n|n/a|na|nil|nil known|no|none|none known|not applicable|not known|not recorded|null|undefined|unknown";
            let word = text.trim_matches(|one: char| !one.is_alphanumeric()).to_lowercase();
            let says = !word.is_empty() && no.split('|').all(|no| no != word);
            says.then_some(Json::Bool(true))
        }
        Json::Number(number) => Some(Json::Bool(
            number
                .to_lowercase()
                .split('e')
                .next()
                .is_some_and(|digits| digits.contains(|digit| ('1'..='9').contains(&digit))),
        )),
        Json::Array(items) if items.is_empty() => Some(Json::Bool(false)),
        Json::Array(items) => items.iter().any(says_yes).then_some(Json::Bool(true)),
        Json::Object(_) => Some(Json::Bool(true)),
    }
}

fn says_yes(place: &Json) -> bool {
    yes_no(place) == Some(Json::Bool(true))
}

fn initial(text: &str) -> Option<String> {
    text.chars().find(|character| character.is_alphabetic()).map(|first| first.to_uppercase().collect())
}

fn age_band(age: i16) -> &'static str {
    match age {
        80.. => "80+",
        75..=79 => "75-79",
        65..=74 => "65-74",
        _ => "under 65",
    }
}

/// The outward part: everything before the last three characters, which are a digit and two letters.
fn postcode_district(text: &str) -> Option<String> {
    let compact: String =
        text.chars().filter(|character| !character.is_whitespace()).collect::<String>().to_uppercase();
    if !compact.is_ascii() || !(5..=7).contains(&compact.len()) {
        return None;
    }
    let (outward, inward) = compact.split_at(compact.len() - 3);
    let inward_fits = inward.starts_with(|first: char| first.is_ascii_digit());
    let outward_fits = outward.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (inward_fits && outward_fits).then(|| outward.to_owned())
}

/// Every value the selector reaches; arrays on the way, and at the end, are entered.
fn select<'a>(selector: &Selector, root: &'a Json) -> Vec<&'a Json> {
    select_where(selector, root, |_| true)
}

/// As [`select`], entering only those values, at every step, for which `keep` holds.
fn select_where<'a>(selector: &Selector, root: &'a Json, keep: impl Fn(&Json) -> bool) -> Vec<&'a Json> {
    let mut found = vec![root];
    for step in selector.steps() {
        found = found.into_iter().flat_map(elements).filter_map(|node| node.member(&step.key)).collect();
        let entered = |node: &&Json| admits(step, node) && keep(node);
        found = found.into_iter().flat_map(elements).filter(entered).collect();
    }
    found
}

/// The first text the selector reaches.
fn first_str<'a>(selector: &Selector, root: &'a Json) -> Option<&'a str> {
    select(selector, root).into_iter().find_map(Json::as_str)
}

fn admits(step: &Step, node: &Json) -> bool {
    step.filters.iter().all(|(key, value)| node.member(key).and_then(Json::as_str) == Some(value))
}

/// The elements of an array, or the value itself.
fn elements(node: &Json) -> std::slice::Iter<'_, Json> {
    match node {
        Json::Array(items) => items.iter(),
        other => std::slice::from_ref(other).iter(),
    }
}
