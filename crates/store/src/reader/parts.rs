//! Everything that bears on a batch of look-ups, in one statement: one statement sees one state of the database, without a
//! transaction around it, and is one round trip to a server. What each part of it finds comes in the same columns.

use sqlx::{Row as _, any::AnyRow};

use crate::{
    alerting::MarkRow,
    error::StoreError,
    fact::{self, Fact},
    opt_out::RawOptOut,
    reader::PoliciesRow,
    row::{RawConsentRecord, RawObjectionRecord, optional_instant},
    subjects::RawName,
};

/// Lists of: hashes of identifiers, names, hashes that marks are held against, organisations and practitioners whose marks are
/// wanted, hashes of opt-out checks. `CROSS JOIN` keeps SQLite to the order that is written: from the few to the table. A
/// server is kept to it by [`crate::database::Access::LookUp`].
pub(crate) const HELD: &str = "WITH found (hash, via) AS (
        SELECT lookup_hash, pseudonym FROM subject_identifier
            WHERE lookup_hash IN (SELECT unhex(value) FROM json_each($1))
        UNION ALL
        SELECT NULL, pseudonym FROM subject WHERE pseudonym IN (SELECT value FROM json_each($2))
    ), named (hash, via, pseudonym, person_group, revision, restricted, deceased, restricted_us, deceased_us) AS MATERIALIZED (
        SELECT found.hash, found.via, everybody.pseudonym, everybody.person_group, everybody.revision, everybody.restricted,
            everybody.deceased, everybody.restricted_us, everybody.deceased_us
        FROM found CROSS JOIN subject AS asked_about CROSS JOIN subject AS everybody
        WHERE asked_about.pseudonym = found.via AND everybody.person_group = asked_about.person_group
    ), person (name) AS MATERIALIZED (SELECT DISTINCT pseudonym FROM named)
    SELECT 'name' AS part, hash, via, pseudonym, person_group, CAST(NULL AS TEXT), CAST(NULL AS TEXT), CAST(NULL AS TEXT),
        CAST(NULL AS TEXT), CAST(NULL AS TEXT), revision, restricted, deceased, restricted_us, deceased_us, CAST(NULL AS TEXT) FROM named
    UNION ALL
    SELECT 'consent', NULL, id, subject, consent_type, status, controller, recipients, purposes, given_by, given_us,
        expires_us, ended_us, recorded_us, NULL, shown FROM person CROSS JOIN consent WHERE consent.subject = person.name
    UNION ALL
    SELECT 'objection', NULL, id, subject, purposes, recipients, objection_kind, status, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
        FROM person CROSS JOIN objection WHERE objection.subject = person.name
    UNION ALL
    SELECT 'fact', NULL, id, subject, kind, body, NULL, NULL, NULL, NULL, ended_us, NULL, NULL, NULL, NULL, NULL
        FROM person CROSS JOIN subject_fact WHERE subject_fact.subject = person.name
    UNION ALL
    SELECT 'mark', hash, id, kind, organisation, practitioner, NULL, NULL, NULL, NULL, recorded_us, until_us, NULL, NULL, NULL, NULL
        FROM alert_mark WHERE hash IN (SELECT unhex(value) FROM json_each($3))
    UNION ALL
    SELECT 'mark', hash, id, kind, organisation, practitioner, NULL, NULL, NULL, NULL, recorded_us, until_us, NULL, NULL, NULL, NULL
        FROM alert_mark WHERE organisation IN (SELECT value FROM json_each($4))
            AND practitioner IN (SELECT value FROM json_each($5))
    UNION ALL
    SELECT 'opt-out', person_hash, purpose, NULL, NULL, NULL, NULL, NULL, NULL, NULL, expires_us, opted_out, NULL, NULL, NULL, NULL
        FROM opt_out_checked JOIN opt_out_batch ON opt_out_batch.id = opt_out_checked.batch
        WHERE person_hash IN (SELECT unhex(value) FROM json_each($6)) AND imported_us > 0
    UNION ALL
    SELECT 'checks', NULL, id, purpose, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM opt_out_batch
        WHERE imported_us > 0
    UNION ALL
    SELECT 'policies', NULL, digest, NULL, NULL, NULL, NULL, NULL, NULL, NULL, revision,
        coalesce((SELECT at_us FROM ledger_entry ORDER BY seq DESC LIMIT 1), 0), NULL, NULL, NULL, NULL
        FROM policy_set WHERE id = 1";

/// Where the columns begin.
const HASH: usize = 1;
const TEXTS: usize = 2;
const NUMBERS: usize = 10;
/// What a person was shown, where there is that.
const SHOWN: usize = 15;

/// One row, as what it is.
pub(super) enum Part {
    /// A name, with the hash by which it was found or none, and the name through which it was.
    Name(Option<Vec<u8>>, String, RawName),
    Consent(RawConsentRecord),
    Objection(RawObjectionRecord),
    /// The name that it is held under, and what it is.
    Fact(String, Result<Fact, StoreError>),
    Mark(MarkRow),
    OptOut(RawOptOut),
    /// A batch of opt-out checks, and the purpose that it was made for.
    Checks(String, String),
    /// The policies in force.
    Policies(PoliciesRow),
}

impl Part {
    /// # Errors
    /// [`StoreError`] when the row has other columns than the statement says.
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let text = |place: usize| row.try_get::<String, _>(TEXTS + place);
        let number = |place: usize| row.try_get::<i64, _>(NUMBERS + place);
        let maybe = |place: usize| row.try_get::<Option<i64>, _>(NUMBERS + place);
        Ok(match row.try_get::<&str, _>(0)? {
            "name" => {
                let name = RawName {
                    pseudonym: text(1)?,
                    person_group: text(2)?,
                    revision: number(0)?,
                    restricted: number(1)?,
                    deceased: number(2)?,
                    restricted_us: maybe(3)?,
                    deceased_us: maybe(4)?,
                };
                Self::Name(row.try_get(HASH)?, text(0)?, name)
            }
            "consent" => Self::Consent(RawConsentRecord {
                id: text(0)?,
                subject: text(1)?,
                consent_type: text(2)?,
                status: text(3)?,
                controller: text(4)?,
                recipients: text(5)?,
                purposes: text(6)?,
                given_by: text(7)?,
                recorded_us: number(3)?,
                given_us: number(0)?,
                expires_us: maybe(1)?,
                ended_us: maybe(2)?,
                shown: row.try_get(SHOWN)?,
            }),
            "objection" => Self::Objection(RawObjectionRecord {
                id: text(0)?,
                subject: text(1)?,
                purposes: text(2)?,
                recipients: text(3)?,
                objection_kind: text(4)?,
                status: text(5)?,
            }),
            "fact" => {
                let ended_at = optional_instant(maybe(0)?);
                let fact = ended_at.and_then(|ended_at| fact::read(&text(2).ok()?, &text(3).ok()?, ended_at));
                Self::Fact(
                    text(1)?,
                    fact.ok_or(StoreError::CorruptRow { table: "subject_fact", row: text(0)? }),
                )
            }
            "mark" => Self::Mark(MarkRow {
                id: text(0)?,
                kind: text(1)?,
                organisation: text(2)?,
                practitioner: text(3)?,
                hash: row.try_get(HASH)?,
                recorded_us: number(0)?,
                until_us: maybe(1)?,
            }),
            "opt-out" => Self::OptOut(RawOptOut {
                person_hash: row.try_get(HASH)?,
                purpose: text(0)?,
                expires_us: number(0)?,
                opted_out: number(1)?,
            }),
            "checks" => Self::Checks(text(0)?, text(1)?),
            "policies" => Self::Policies((number(0)?, text(0)?, number(1)?)),
            part => return Err(StoreError::Ledger(format!("a look-up found a {part}"))),
        })
    }
}
