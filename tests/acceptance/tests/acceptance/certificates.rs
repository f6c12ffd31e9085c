//! A client certificate that ends while a connection is open: the handshake was in order, and what is asked after the end is refused
//! all the same, wherever it is asked.

use std::{sync::Mutex, time::Duration};

use acceptance::{Answer, World, answer};
use gateway::{
    clock::{Clock as _, SystemClock},
    tls::CertificateFingerprint,
};
use ledger::entry::Body;
use rcgen::date_time_ymd;
use reqwest::{Client, StatusCode};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{tls::Authority, token_endpoint};

/// How long the certificate is good by either clock, in seconds: the handshake goes by the machine's, and what is asked by the world's.
const GOOD_S: u64 = 3_600;

/// A world whose fire service has such a certificate.
struct Ending {
    world: World,
    certificate: CertificateFingerprint,
    not_after_s: u64,
}

impl Ending {
    async fn new() -> Self {
        let now: jiff::Timestamp = acceptance::NOW.parse().unwrap();
        let later = now.max(SystemClock.wall()).as_second().unsigned_abs();
        let not_after_s = later + GOOD_S;
        let made = Mutex::new(None);
        let world = World::with_settings(|settings| {
            let folder = settings.tls.client_ca.parent().unwrap().to_owned();
            let authority = Authority::new();
            let (pem, key) = authority.issue(7, |parameters| {
                parameters.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(not_after_s);
            });
            let both = std::fs::read_to_string(&settings.tls.client_ca).unwrap() + &authority.pem();
            settings.tls.client_ca = folder.join("both.pem");
            std::fs::write(&settings.tls.client_ca, both).unwrap();
            let certificate =
                CertificateFingerprint::of(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
            let fire = settings.systems.iter_mut().find(|system| system.client_id == "gmca-prevention");
            fire.unwrap().certificates = vec![certificate];
            std::fs::write(folder.join("fire.pem"), pem).unwrap();
            std::fs::write(folder.join("fire.key"), key).unwrap();
            *made.lock().unwrap() = Some(certificate);
        })
        .await;
        let certificate = made.lock().unwrap().unwrap();
        Self { world, certificate, not_after_s }
    }

    /// The clock shows so many seconds after the last one in which the certificate is good.
    fn pass(&self, seconds: u64) {
        let now = self.world.clock.now().as_second().unsigned_abs();
        self.world.clock.advance_s(self.not_after_s + seconds - now);
    }

    /// That this was refused because of the certificate, and that the ledger says so.
    async fn is_refused(&self, said: &Answer, status: StatusCode, at: &str) {
        assert_eq!(said.status, status, "{said:?}");
        let Some(Body::RequestRefused { code, route, certificate_sha256, .. }) =
            self.world.entries().await.pop().map(|entry| entry.body)
        else {
            panic!("the refusal is not in the ledger: {said:?}");
        };
        assert_eq!((code.as_str(), route.as_str()), ("certificate-expired", at));
        assert_eq!(certificate_sha256, Some(self.certificate.to_hex()));
    }
}

#[tokio::test]
async fn a_question_after_the_certificates_end_is_refused_over_the_connection_that_is_open() {
    let ending = Ending::new().await;
    let world = &ending.world;
    let (client, port) = (world.client("fire"), crate::wire::port(world));
    let ask = || async { world.send_to(&client, port, &world.prevention("9732110317")).await.unwrap() };
    assert_eq!(ask().await.status, StatusCode::OK);
    ending.pass(0);
    assert_ne!(ask().await.code(), "certificate-expired", "its last second is one of its own");
    let asked = world.asked["nhs"].asked().len();
    ending.pass(1);
    let refused = ask().await;
    assert_eq!(refused.code(), "certificate-expired");
    ending.is_refused(&refused, StatusCode::FORBIDDEN, "/v1/disclosures").await;
    assert_eq!(world.asked["nhs"].asked().len(), asked, "nobody was asked");
    world.verify().await;
}

#[tokio::test]
async fn what_needs_no_token_needs_a_certificate_that_has_not_ended() {
    let ending = Ending::new().await;
    let world = &ending.world;
    let client = world.client("fire");
    let path = "/.well-known/audit/checkpoint";
    let read = || async {
        answer(client.get(format!("{}{path}", world.settings.public_url)).send().await.unwrap()).await
    };
    assert_eq!(read().await.status, StatusCode::OK);
    ending.pass(0);
    assert_eq!(read().await.status, StatusCode::OK, "its last second is one of its own");
    ending.pass(1);
    let refused = read().await;
    assert_eq!(refused.code(), "certificate-expired");
    ending.is_refused(&refused, StatusCode::FORBIDDEN, path).await;
}

#[tokio::test]
async fn no_token_is_issued_after_the_certificates_end() {
    let ending = Ending::new().await;
    let world = &ending.world;
    let client: Client = world.client("fire");
    let ask = || async { token_endpoint::ask_over(&client, world).await };
    assert_eq!(ask().await.status, StatusCode::OK);
    ending.pass(0);
    assert_eq!(ask().await.status, StatusCode::OK, "its last second is one of its own");
    ending.pass(1);
    let refused = ask().await;
    assert_eq!(refused.body["error"], "invalid_client");
    ending.is_refused(&refused, StatusCode::UNAUTHORIZED, "/oauth2/token").await;
}
