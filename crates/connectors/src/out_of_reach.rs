//! A record holder's name that leads to this machine.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use outbound::{LookUp, Reach, Resolver};
use sharing::{Provider, SubjectIdentifier};
use tokio::net::TcpListener;

use crate::{Connector, FetchFault, Route, connector};

/// A record holder by name, on this machine at this port, and the client that a release asks it with.
fn named(provider: &Provider, port: u16, reach: Reach) -> Connector {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
    let route = Route {
        base_url: Some(format!("https://records.example.test:{port}")),
        trusted_pem: certificate.clone(),
        identity_pem: format!("{certificate}\n{}", key.serialize_pem()),
        timeout: Duration::from_secs(20),
        body_bytes_max: 1_024,
        in_flight_max: 1,
        reach,
    };
    let look_up: LookUp = Arc::new(|_| Box::pin(async { Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]) }));
    connector(provider.id().clone(), route, Resolver::asking(reach, look_up)).unwrap()
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
    let provider: Provider =
        toml::from_str(include_str!("../../../policies/catalogue/nhs-pds.toml")).unwrap();
    let lookup = provider.lookups.first().unwrap();
    let subject = SubjectIdentifier::parse(lookup.scheme.clone(), &lookup.decoy).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    for (reach, fault, count) in
        [(Reach::Elsewhere, FetchFault::OutOfReach, 0), (Reach::Here, FetchFault::Unreachable, 1)]
    {
        let connector = named(&provider, port, reach);
        let asked = connector.ask(&provider, lookup, &subject, "6f1c7c2e-0000-4000-8000-000000000001");
        assert_eq!(asked.await.err(), Some(fault), "{reach:?}");
        assert_eq!(connections.load(Ordering::SeqCst), count, "{reach:?}");
    }
}
