//! Who may have how much of the gateway: places at once and requests a minute, for each partner's system and for all.
//!
//! A place is taken inside the handler's path and never waited for, so that whoever is turned away is so cheaply; a queue would
//! only hide that there is too much to do. A system whose questions go on and on all the same is told so more slowly, so that saying
//! no does not take what the others' answers need. Taking something back is the exception: it has places of its own, is
//! not counted against a rate, and waits for its turn until its deadline, so that no flood of anybody's keeps it out.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use serde::Deserialize;
use sharing::SystemId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{caller::System, problem::Problem};

/// What one partner's system may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartnerLimits {
    /// Requests worked on at once.
    pub requests_max: usize,
    /// Requests a minute, on the whole.
    pub requests_per_minute: u32,
    /// Requests that may come at once, before that counts.
    pub burst: u32,
}

impl Default for PartnerLimits {
    fn default() -> Self {
        Self { requests_max: 96, requests_per_minute: 600_000, burst: 10_000 }
    }
}

/// How many requests of one system that take something back are worked on at once.
const RESERVED_OF_ONE: usize = 16;
/// How many of those that record a consent, which may be a refusal.
const WISHES_OF_ONE: usize = 8;

/// How many questions of one system are turned away at once in a second; each further one is told after a moment, which keeps its
/// connection, or its stream, from bringing the next. They are counted before they wait.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(100).expect("it is not zero");
/// How long that moment is: less than what Retry-After says.
const MOMENT: Duration = Duration::from_millis(500);
/// How many answers are kept waiting so, of all systems; more are told at once again.
const KEPT_WAITING_MAX: usize = 1_024;

/// Which places a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// Those of questions: nobody waits for one, and they count against a rate.
    Questions,
    /// Those of whatever takes something back.
    TakesBack,
    /// Those of consents, which are perhaps refusals: whoever records many at once keeps no withdrawal waiting, of its own or
    /// of others.
    Wishes,
}

/// Everybody's places for what waits for its turn.
#[derive(Debug, Clone)]
pub struct Reserved {
    takes_back: Arc<Semaphore>,
    wishes: Arc<Semaphore>,
}

impl Reserved {
    /// How many there are of each for everybody.
    pub const OF_ALL: usize = 64;

    fn of(takes_back: usize, wishes: usize) -> Self {
        Self { takes_back: Arc::new(Semaphore::new(takes_back)), wishes: Arc::new(Semaphore::new(wishes)) }
    }

    /// These places; questions wait for none.
    pub fn of_kind(&self, places: Places) -> Option<&Arc<Semaphore>> {
        match places {
            Places::Questions => None,
            Places::TakesBack => Some(&self.takes_back),
            Places::Wishes => Some(&self.wishes),
        }
    }

    /// How many of these are taken.
    pub fn in_use(&self, places: Places) -> usize {
        self.of_kind(places).map_or(0, |pool| Self::OF_ALL.saturating_sub(pool.available_permits()))
    }
}

impl Default for Reserved {
    fn default() -> Self {
        Self::of(Self::OF_ALL, Self::OF_ALL)
    }
}

type Rate = RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>;

/// One system's share.
pub struct Partner {
    limits: PartnerLimits,
    places: Arc<Semaphore>,
    reserved: Reserved,
    rate: Rate,
    turned_away: RateLimiter<NotKeyed, InMemoryState, MonotonicClock>,
    policy: HeaderValue,
}

/// Every system's share.
pub struct Admission {
    limits: PartnerLimits,
    partners: Mutex<HashMap<SystemId, Arc<Partner>>>,
    /// Certificates of a trusted authority that no system is registered with: all of them together.
    unregistered: Arc<Partner>,
    kept_waiting: Semaphore,
}

/// Leave to be worked on, until it is dropped.
pub struct Admitted {
    _of_all: OwnedSemaphorePermit,
    _of_partner: OwnedSemaphorePermit,
    /// What is left of the rate.
    left: Option<u32>,
}

/// Why a request is turned away unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// Everybody's places are taken.
    Overloaded,
    /// The system's places are.
    TooManyAtOnce,
    /// The system's rate is used up, for so long.
    TooManyRequests(Duration),
    /// Its turn did not come in time, or it asked and was not answered.
    TookTooLong,
    /// It was to record or change something, and was not done with in time.
    MayBeRecorded,
}

impl TurnedAway {
    /// What the caller is told.
    pub fn problem(self) -> Problem {
        match self {
            Self::Overloaded => Problem::Overloaded,
            Self::TooManyAtOnce => Problem::TooManyAtOnce,
            Self::TooManyRequests(wait) => {
                let seconds = u16::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u16::MAX);
                Problem::TooManyRequests(seconds.max(1))
            }
            Self::TookTooLong => Problem::TookTooLong,
            Self::MayBeRecorded => Problem::MayBeRecorded,
        }
    }

    /// The code in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::TooManyAtOnce => "too-many-at-once",
            Self::TooManyRequests(_) => "too-many-requests",
            Self::TookTooLong | Self::MayBeRecorded => "took-too-long",
        }
    }
}

impl Admission {
    /// With these limits where a system has none of its own.
    pub fn new(limits: PartnerLimits) -> Self {
        // Whoever is not registered is refused: a few at a time are enough for that.
        let unregistered = PartnerLimits { requests_max: 8, requests_per_minute: 600, burst: 60 };
        Self {
            limits,
            partners: Mutex::default(),
            unregistered: Arc::new(Partner::new(unregistered)),
            kept_waiting: Semaphore::new(KEPT_WAITING_MAX),
        }
    }

    /// Until a system whose question is turned away is told so.
    pub async fn before_turning_away(&self, partner: &Partner) {
        if partner.turned_away.check().is_ok() {
            return;
        }
        let Ok(_waiting) = self.kept_waiting.try_acquire() else { return };
        tokio::time::sleep(MOMENT).await;
    }

    /// The share of this system, or of all that are not registered.
    pub fn partner(&self, system: Option<&System>) -> Arc<Partner> {
        let Some(system) = system else { return self.unregistered.clone() };
        let limits = system.settings.limits.unwrap_or(self.limits);
        let mut partners = self.partners.lock().unwrap_or_else(PoisonError::into_inner);
        match partners.get(&system.settings.id) {
            Some(partner) if partner.limits == limits => partner.clone(),
            _ => {
                let partner = Arc::new(Partner::new(limits));
                partners.insert(system.settings.id.clone(), partner.clone());
                partner
            }
        }
    }
}

impl Partner {
    fn new(limits: PartnerLimits) -> Self {
        let one = NonZeroU32::MIN;
        let (per_minute, burst) = (
            NonZeroU32::new(limits.requests_per_minute).unwrap_or(one),
            NonZeroU32::new(limits.burst).unwrap_or(one),
        );
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        let rate = RateLimiter::direct_with_clock(quota, MonotonicClock)
            .with_middleware::<StateInformationMiddleware>();
        // In how many seconds a burst that is used up has come back.
        let window = (u64::from(burst.get()) * 60).div_ceil(u64::from(per_minute.get()));
        let policy = HeaderValue::from_str(&format!("\"requests\";q={burst};w={window}"));
        Self {
            limits,
            places: Arc::new(Semaphore::new(limits.requests_max)),
            reserved: Reserved::of(RESERVED_OF_ONE, WISHES_OF_ONE),
            rate,
            turned_away: RateLimiter::direct_with_clock(Quota::per_second(AT_ONCE), MonotonicClock),
            policy: policy.unwrap_or(HeaderValue::from_static("\"requests\"")),
        }
    }

    /// A place, or why there is none. Nobody waits.
    ///
    /// # Errors
    /// [`TurnedAway`].
    pub fn admit(&self, everybody: &Arc<Semaphore>) -> Result<Admitted, TurnedAway> {
        let state = self
            .rate
            .check()
            .map_err(|until| TurnedAway::TooManyRequests(until.wait_time_from(MonotonicClock.now())))?;
        let of_partner = self.places.clone().try_acquire_owned();
        let of_partner = of_partner.map_err(|_| TurnedAway::TooManyAtOnce)?;
        let of_all = everybody.clone().try_acquire_owned().map_err(|_| TurnedAway::Overloaded)?;
        let left = Some(state.remaining_burst_capacity());
        Ok(Admitted { _of_all: of_all, _of_partner: of_partner, left })
    }

    /// A reserved place, when its turn has come.
    ///
    /// # Errors
    /// [`TurnedAway::TookTooLong`] alone.
    pub async fn admit_in_turn(
        &self,
        places: Places,
        reserved: &Reserved,
        deadline: Instant,
    ) -> Result<Admitted, TurnedAway> {
        let both = async {
            // The own share first: who waits for it holds nobody else's place.
            let of_partner = self.reserved.of_kind(places)?.clone().acquire_owned().await.ok()?;
            let of_all = reserved.of_kind(places)?.clone().acquire_owned().await.ok()?;
            Some(Admitted { _of_all: of_all, _of_partner: of_partner, left: None })
        };
        let both = tokio::time::timeout_at(deadline.into(), both).await.ok().flatten();
        both.ok_or(TurnedAway::TookTooLong)
    }

    /// Says what the rate is and what is left of it (draft-ietf-httpapi-ratelimit-headers-11).
    pub fn describe(&self, admitted: Result<&Admitted, TurnedAway>, headers: &mut HeaderMap) {
        let left = match admitted {
            Ok(admitted) => admitted.left.map(|left| format!("\"requests\";r={left}")),
            Err(TurnedAway::TooManyRequests(wait)) => {
                Some(format!("\"requests\";r=0;t={}", wait.as_millis().div_ceil(1_000).max(1)))
            }
            Err(_) => None,
        };
        let Some(left) = left.and_then(|left| HeaderValue::from_str(&left).ok()) else { return };
        headers.insert(HeaderName::from_static("ratelimit-policy"), self.policy.clone());
        headers.insert(HeaderName::from_static("ratelimit"), left);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn partner(requests_max: usize, burst: u32) -> Partner {
        Partner::new(PartnerLimits { requests_max, requests_per_minute: 1, burst })
    }

    #[test]
    fn one_system_fills_its_own_share_and_not_everybodys() {
        let everybody = Arc::new(Semaphore::new(10));
        let (noisy, quiet) = (partner(4, 100), partner(4, 100));
        let held: Vec<_> = (0..50).filter_map(|_| noisy.admit(&everybody).ok()).collect();
        assert_eq!(held.len(), 4);
        assert_eq!(noisy.admit(&everybody).err(), Some(TurnedAway::TooManyAtOnce));
        assert!(quiet.admit(&everybody).is_ok());
        drop(held);
        assert!(noisy.admit(&everybody).is_ok());
    }

    #[test]
    fn a_rate_lets_a_burst_through_and_says_what_is_left() {
        let everybody = Arc::new(Semaphore::new(10));
        let partner = partner(10, 3);
        for left in ["\"requests\";r=2", "\"requests\";r=1", "\"requests\";r=0"] {
            let (admitted, mut headers) = (partner.admit(&everybody), HeaderMap::new());
            partner.describe(admitted.as_ref().map_err(|away| *away), &mut headers);
            assert_eq!(headers["ratelimit"], left);
            assert_eq!(headers["ratelimit-policy"], "\"requests\";q=3;w=180");
        }
        let (away, mut headers) = (partner.admit(&everybody).err().unwrap(), HeaderMap::new());
        let TurnedAway::TooManyRequests(wait) = away else { panic!("{away:?}") };
        assert!(wait <= Duration::from_mins(1));
        partner.describe(Err(away), &mut headers);
        assert!(headers["ratelimit"].to_str().unwrap().starts_with("\"requests\";r=0;t="));
    }

    #[tokio::test]
    async fn whoever_goes_on_and_on_is_turned_away_more_slowly() {
        let admission = Admission::new(PartnerLimits::default());
        let (noisy, other) = (partner(1, 1), partner(1, 1));
        let mut at_once = 0;
        let (began, waits) = loop {
            let (began, mut one) = (Instant::now(), Box::pin(admission.before_turning_away(&noisy)));
            if one.as_mut().now_or_never().is_none() {
                break (began, one);
            }
            at_once += 1;
        };
        assert!(at_once >= AT_ONCE.get(), "{at_once}");
        assert!(admission.before_turning_away(&other).now_or_never().is_some(), "nobody else waits for it");
        waits.await;
        assert!(began.elapsed() >= MOMENT);
        // No more than so many answers are kept.
        let mut kept: Vec<_> =
            (0..4 * KEPT_WAITING_MAX).map(|_| Box::pin(admission.before_turning_away(&noisy))).collect();
        let waiting = kept.iter_mut().filter_map(|one| one.now_or_never().is_none().then_some(())).count();
        assert_eq!((waiting, admission.kept_waiting.available_permits()), (KEPT_WAITING_MAX, 0));
        drop(kept);
        assert_eq!(admission.kept_waiting.available_permits(), KEPT_WAITING_MAX, "whoever breaks off");
    }

    #[tokio::test]
    async fn what_is_taken_back_waits_for_its_turn_and_no_longer_than_its_deadline() {
        let soon = || Instant::now() + Duration::from_mins(1);
        for (places, of_one) in [(Places::TakesBack, RESERVED_OF_ONE), (Places::Wishes, WISHES_OF_ONE)] {
            let reserved = Reserved::of(RESERVED_OF_ONE + 1, WISHES_OF_ONE + 1);
            let (noisy, quiet) = (partner(1, 1), partner(1, 1));
            let mut held = Vec::new();
            for _ in 0..of_one {
                held.push(noisy.admit_in_turn(places, &reserved, soon()).await.ok().unwrap());
            }
            let at_once = Instant::now() + Duration::from_millis(20);
            let away = noisy.admit_in_turn(places, &reserved, at_once).await.err();
            assert_eq!(away, Some(TurnedAway::TookTooLong));
            for other in [Places::TakesBack, Places::Wishes].into_iter().filter(|other| *other != places) {
                let other = noisy.admit_in_turn(other, &reserved, soon()).await;
                assert!(other.is_ok(), "{places:?} keep the others from nobody");
            }
            let another = quiet.admit_in_turn(places, &reserved, soon()).await;
            assert!(another.is_ok(), "one system does not take all of them");
            let (next, ()) =
                tokio::join!(noisy.admit_in_turn(places, &reserved, soon()), async { drop(held.pop()) });
            assert!(next.is_ok());
        }
    }
}
