//! What is forgotten, and what must not be: ends of retention, erasure (UK GDPR Art 17), legal holds, and the keys that
//! are replaced.
//!
//! Nothing that protects somebody is forgotten: no objection in force, no consent while another one of the same person
//! lives (a person's own no outweighs a proxy's yes), no mark of restriction. The ledger keeps its entries. They name
//! people by pseudonyms, which lead nowhere once the person is forgotten.

use jiff::Timestamp;
use sharing::{OrganisationId, Pseudonym};
use sqlx::AnyPool;
use zeroize::Zeroizing;

use crate::{audit::Archive, error::StoreError, open::Store, row::to_list};

/// What ended before these instants may be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoffs {
    /// Consents that ran out, were refused or taken back.
    pub consents: Timestamp,
    /// Objections and dissents that were refused or taken back.
    pub objections: Timestamp,
    /// Relationships, grants and emergencies.
    pub exceptions: Timestamp,
    /// Requests for one-off disclosures that were decided, or never asked.
    pub referrals: Timestamp,
    /// Alerts that were closed.
    pub alerts: Timestamp,
    /// People with whom nobody has had to do since, and about whom nothing else is held.
    pub people: Timestamp,
}

impl Cutoffs {
    /// Everything that has ended by now.
    pub fn all(at: Timestamp) -> Self {
        Self { consents: at, objections: at, exceptions: at, referrals: at, alerts: at, people: at }
    }
}

/// About whom, and of which controller; everything by default.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Every name of one person.
    pub names: Option<Vec<Pseudonym>>,
    /// The organisation that answers for it.
    pub organisation: Option<OrganisationId>,
}

/// What may be forgotten now, by name, at most [`FORGET_MAX`] at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forgettable {
    /// Consents.
    pub consents: Vec<String>,
    /// Objections.
    pub objections: Vec<String>,
    /// Relationships, grants and emergencies.
    pub exceptions: Vec<String>,
    /// Referrals, by their decisions.
    pub referrals: Vec<String>,
    /// Complaints and corrections.
    pub rights: Vec<String>,
    /// Alerts.
    pub alerts: Vec<String>,
    /// People, by every pseudonym.
    pub people: Vec<String>,
}

/// Most of each kind that are forgotten in one entry.
pub const FORGET_MAX: i64 = 40;

impl Forgettable {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.names().next().is_none()
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let [consents, objections, exceptions] = [&self.consents, &self.objections, &self.exceptions];
        let records = consents.iter().chain(objections).chain(exceptions);
        records.chain(&self.referrals).chain(&self.rights).chain(&self.alerts).chain(&self.people)
    }
}

/// A hold: what must not be forgotten, whatever its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// Its name.
    pub id: String,
    /// About whom; nobody is everything.
    pub subject: Option<String>,
    /// The organisation that placed it.
    pub organisation: String,
    /// Why.
    pub reason: String,
    /// Who placed it.
    pub placed_by: String,
    /// When.
    pub placed_us: i64,
    /// Who lifted it.
    pub lifted_by: Option<String>,
    /// When.
    pub lifted_us: Option<i64>,
}

columns!(HoldRow { id, subject, organisation, reason, placed_by, placed_us, lifted_by, lifted_us });

/// An erasure that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRow {
    /// Its name.
    pub id: String,
    /// About whom.
    pub subject: String,
    /// The organisation whose records are to be forgotten.
    pub organisation: String,
    /// The ground of Art 17(1).
    pub ground: String,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked_us: i64,
    /// Who carried it out.
    pub done_by: Option<String>,
    /// When.
    pub done_us: Option<i64>,
}

columns!(ErasureRow { id, subject, organisation, ground, asked_by, asked_us, done_by, done_us });

/// A new look-up key, on top of those before.
pub struct NewLookupKey {
    pub(crate) key: Zeroizing<[u8; 32]>,
    pub(crate) check_value: String,
}

impl std::fmt::Debug for NewLookupKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NewLookupKey(..)")
    }
}

/// The last instant at which a consent said anything; none while it holds.
const CONSENT_END: &str = "CASE WHEN {c}.status IN ('given', 'renewed') THEN {c}.expires_us
    ELSE coalesce({c}.ended_us, {c}.withdrawn_us, {c}.recorded_us) END";

/// No hold covers this person.
const NOT_HELD: &str =
    "NOT EXISTS (SELECT 1 FROM legal_hold WHERE lifted_us IS NULL AND (legal_hold.subject IS NULL
    OR legal_hold.subject IN (SELECT held.pseudonym FROM subject AS held JOIN subject AS named
        ON named.person_group = held.person_group WHERE named.pseudonym = {subject})))";

/// Conditions under which a row may be forgotten. `$1` is the cutoff, `$2` names or null, `$3` the organisation or null.
fn condition(kind: Kind) -> String {
    let not_held = |subject: &str| NOT_HELD.replace("{subject}", subject);
    let within = |subject: &str, organisation: &str| {
        format!(
            "($2 IS NULL OR {subject} IN (SELECT value FROM json_each($2)))
             AND ($3 IS NULL OR {organisation} = $3) AND {}",
            not_held(subject)
        )
    };
    match kind {
        Kind::Consent => {
            let (end, other) = (CONSENT_END.replace("{c}", "consent"), CONSENT_END.replace("{c}", "other"));
            let within = within("consent.subject", "consent.controller");
            format!(
                "{end} < $1 AND {within} AND NOT EXISTS (SELECT 1 FROM consent AS other
                    JOIN subject AS one ON one.pseudonym = consent.subject
                    JOIN subject AS two ON two.pseudonym = other.subject AND two.person_group = one.person_group
                    WHERE coalesce({other}, $1) >= $1)"
            )
        }
        Kind::Objection => format!(
            "objection.status IN ('refused', 'withdrawn') AND coalesce((SELECT max(objection_change.recorded_us)
                FROM objection_change WHERE objection_change.objection = objection.id), objection.recorded_us) < $1
             AND {}",
            within("objection.subject", "objection.controller")
        ),
        Kind::Exception => format!(
            "coalesce(subject_fact.ended_us, subject_fact.ends_us) < $1 AND {}",
            within("subject_fact.subject", "subject_fact.recorded_by")
        ),
        Kind::Referral => format!(
            "referral.state IN ('granted', 'refused', 'revoked', 'waiting-for-form') AND referral.due_us < $1
             AND referral.opened_us < $1 AND NOT EXISTS (SELECT 1 FROM referral_message
                WHERE referral_message.decision_id = referral.decision_id AND referral_message.at_us >= $1)
             AND NOT EXISTS (SELECT 1 FROM subject_fact WHERE subject_fact.subject = referral.subject
                AND subject_fact.kind = 'grant' AND coalesce(subject_fact.ended_us, subject_fact.ends_us, $1) >= $1)
             AND {}",
            within("referral.subject", "referral.holder")
        ),
        Kind::Rights => format!(
            "rights_request.state = 'answered' AND rights_request.answered_us < $1 AND {}",
            within("rights_request.subject", "rights_request.organisation")
        ),
        // An alert names nobody, so it is not one person's.
        Kind::Alert => "alert.state = 'closed' AND alert.handled_us < $1 AND $2 IS NULL
             AND ($3 IS NULL OR alert.organisation = $3)
             AND NOT EXISTS (SELECT 1 FROM legal_hold WHERE lifted_us IS NULL AND legal_hold.subject IS NULL)"
            .to_owned(),
        // Only whoever has nothing left, under any name; and nobody whose address could kill. The first condition is one of
        // those in the middle for this name itself: few pass it, so that the rest is asked of few.
        Kind::Person => format!(
            "subject.seen_us < $1 AND ($2 IS NULL OR subject.pseudonym IN (SELECT value FROM json_each($2))) AND ($3 IS NULL OR $3 = $3)
             AND NOT EXISTS (SELECT 1 FROM subject AS other WHERE other.person_group = subject.person_group
                AND (other.restricted <> 0 OR coalesce(other.seen_us, $1) >= $1
                    OR EXISTS (SELECT 1 FROM consent WHERE consent.subject = other.pseudonym)
                    OR EXISTS (SELECT 1 FROM objection WHERE objection.subject = other.pseudonym)
                    OR EXISTS (SELECT 1 FROM subject_fact WHERE subject_fact.subject = other.pseudonym)
                    OR EXISTS (SELECT 1 FROM referral WHERE referral.subject = other.pseudonym)
                    OR EXISTS (SELECT 1 FROM rights_request WHERE rights_request.subject = other.pseudonym)
                    OR EXISTS (SELECT 1 FROM legal_hold WHERE legal_hold.subject = other.pseudonym
                        AND legal_hold.lifted_us IS NULL)))
             AND {}",
            not_held("subject.pseudonym")
        ),
    }
}

/// What can be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Consent,
    Objection,
    Exception,
    Referral,
    Rights,
    Alert,
    Person,
}

impl Kind {
    fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Consent => ("consent", "id"),
            Self::Objection => ("objection", "id"),
            Self::Exception => ("subject_fact", "id"),
            Self::Referral => ("referral", "decision_id"),
            Self::Rights => ("rights_request", "id"),
            Self::Alert => ("alert", "id"),
            Self::Person => ("subject", "pseudonym"),
        }
    }

    /// Which of them may be forgotten, oldest names first.
    fn query(self) -> String {
        let (table, key) = self.table();
        format!("SELECT {key} FROM {table} WHERE {} ORDER BY {key} LIMIT $4", condition(self))
    }

    /// Whether this one may still be forgotten.
    pub(crate) fn still(self) -> String {
        let (table, key) = self.table();
        format!("SELECT 1 FROM {table} WHERE {} AND {table}.{key} = $4", condition(self))
    }
}

async fn forgettable(pool: &AnyPool, cutoffs: &Cutoffs, scope: &Scope) -> Result<Forgettable, StoreError> {
    let found = async |kind: Kind, cutoff: Timestamp| {
        let query = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(kind.query()));
        let query = query.bind(cutoff.as_microsecond()).bind(scope.names.as_deref().map(to_list));
        let query = query.bind(scope.organisation.as_ref().map(OrganisationId::as_str)).bind(FORGET_MAX);
        query.fetch_all(pool).await.map_err(StoreError::from)
    };
    Ok(Forgettable {
        consents: found(Kind::Consent, cutoffs.consents).await?,
        objections: found(Kind::Objection, cutoffs.objections).await?,
        exceptions: found(Kind::Exception, cutoffs.exceptions).await?,
        referrals: found(Kind::Referral, cutoffs.referrals).await?,
        rights: found(Kind::Rights, cutoffs.objections).await?,
        alerts: found(Kind::Alert, cutoffs.alerts).await?,
        people: found(Kind::Person, cutoffs.people).await?,
    })
}

impl Archive {
    /// What may be forgotten now.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forgettable(&self, cutoffs: &Cutoffs, scope: &Scope) -> Result<Forgettable, StoreError> {
        forgettable(&self.pool, cutoffs, scope).await
    }
}

impl Store {
    /// What may be forgotten now.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forgettable(&self, cutoffs: &Cutoffs, scope: &Scope) -> Result<Forgettable, StoreError> {
        forgettable(&self.readers, cutoffs, scope).await
    }

    /// Holds that have not been lifted, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn holds(&self) -> Result<Vec<HoldRow>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT * FROM legal_hold WHERE lifted_us IS NULL ORDER BY placed_us DESC, id LIMIT 200",
        );
        self.opened_holds(rows.fetch_all(&self.readers).await?).await
    }

    /// One hold.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn hold(&self, id: &str) -> Result<Option<HoldRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM legal_hold WHERE id = $1").bind(id);
        Ok(self.opened_holds(row.fetch_all(&self.readers).await?).await?.pop())
    }

    async fn opened_holds(&self, mut rows: Vec<HoldRow>) -> Result<Vec<HoldRow>, StoreError> {
        for row in &mut rows {
            if let Some(subject) = &row.subject {
                row.reason = self.unseal(subject, &row.reason).await?;
            }
        }
        Ok(rows)
    }

    /// One erasure.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn erasure(&self, id: &str) -> Result<Option<ErasureRow>, StoreError> {
        let row = sqlx::query_as("SELECT * FROM erasure WHERE id = $1").bind(id);
        Ok(row.fetch_optional(&self.readers).await?)
    }

    /// How many identifiers lead to a person.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn identifiers(&self) -> Result<u64, StoreError> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM subject_identifier").fetch_one(&self.readers).await?;
        Ok(count.unsigned_abs())
    }

    /// How many people's keys are wrapped with an older key than the newest.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn keys_to_rewrap(&self) -> Result<u64, StoreError> {
        let newest = self.wrapping_keys.newest()?.0.clone();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM subject_key WHERE wrapping_key <> $1")
            .bind(newest)
            .fetch_one(&self.readers)
            .await?;
        Ok(count.unsigned_abs())
    }

    /// The change that puts a look-up key on top of those in use. The store goes on with the old ones: open it again
    /// with the new.
    pub fn next_lookup_key(&self, key: [u8; 32]) -> NewLookupKey {
        NewLookupKey { key: Zeroizing::new(key), check_value: self.lookup_key.with(key).check_value() }
    }
}
