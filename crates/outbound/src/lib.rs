//! Where this program may connect to, and what every client that connects has in common. What a name resolves to is looked at before
//! anything connects, at every connection anew, so that a name that changes its mind leads nowhere; nobody is sent on by an answer, and
//! no proxy of the environment stands between.
//!
//! Never: this machine, its link, and where clouds keep their secrets. Private networks are allowed: most record holders
//! are in one (HSCN, a council's own).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use reqwest::{
    ClientBuilder, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};

/// What begins every client that asks at this address: it goes there and nowhere else. Whom it trusts, who it is, and how
/// long it waits is for whoever makes it to say.
///
/// # Errors
/// [`OutOfReach`] when it is no address, or one where nothing is asked.
pub fn client(address: &str) -> Result<ClientBuilder, OutOfReach> {
    let address = Url::parse(address).map_err(|_| OutOfReach)?;
    Ok(client_with(resolver_of(&address)?))
}

fn resolver_of(address: &Url) -> Result<Resolver, OutOfReach> {
    let reach = Reach::said(address);
    if reach.allows_url(address) { Ok(Resolver::new(reach)) } else { Err(OutOfReach) }
}

/// As [`client`], where it is said elsewhere how far it reaches.
pub fn client_with(resolver: Resolver) -> ClientBuilder {
    reqwest::Client::builder().redirect(Policy::none()).no_proxy().referer(false).dns_resolver(resolver)
}

/// As [`client`], for whoever sends from a thread of their own.
///
/// # Errors
/// As [`client`].
pub fn blocking_client(address: &str) -> Result<reqwest::blocking::ClientBuilder, OutOfReach> {
    let address = Url::parse(address).map_err(|_| OutOfReach)?;
    let resolver = resolver_of(&address)?;
    let client = reqwest::blocking::Client::builder().redirect(Policy::none()).no_proxy();
    Ok(client.referer(false).dns_resolver(Arc::new(resolver)))
}

/// Where something may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// On other machines alone.
    Elsewhere,
    /// On this machine too: demonstrations and tests.
    Here,
}

impl Reach {
    /// Of an address that somebody wrote down: who writes that it is this machine means this machine, whether by its number
    /// or as `localhost`. A name that only leads here does not say so.
    pub fn said(address: &Url) -> Self {
        let host = host(address);
        let is_own = match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_loopback(),
            Ok(IpAddr::V6(address)) => address.is_loopback(),
            Err(_) => is_localhost(host),
        };
        if is_own { Self::Here } else { Self::Elsewhere }
    }

    /// Whether a connection to this address may be made.
    pub fn allows(self, address: IpAddr) -> bool {
        self == Self::Here || !is_forbidden(address)
    }

    /// Whether this may be asked, as far as its text tells. A host that is an address in any spelling is one here.
    pub fn allows_url(self, url: &Url) -> bool {
        let host = host(url);
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.allows(address);
        }
        self == Self::Here || !is_localhost(host)
    }
}

/// A URL's host; an IPv6 address without its brackets.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// Names of this machine itself (RFC 6761 §6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Clouds' services for their machines, outside of the link's own range.
const METADATA: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

fn is_forbidden(address: IpAddr) -> bool {
    let is_own = match address {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.octets().first() == Some(&0)
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            let hidden = inside(address);
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.is_multicast()
                || hidden.is_some_and(|hidden| is_forbidden(IpAddr::V4(hidden)))
        }
    };
    is_own || METADATA.contains(&address)
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, translated (RFC 2765, RFC 6052, and as RFC 8215 has it where
/// nothing shorter than 96 bits stands before it) or 6to4.
fn inside(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [first, second, third, fourth, fifth, sixth, high, low] = address.segments();
    let of = |high: u16, low: u16| {
        let ([one, two], [three, four]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(one, two, three, four)
    };
    match (first, second, third, fourth, fifth, sixth) {
        (0, 0, 0, 0, 0, 0 | 0xffff)
        | (0, 0, 0, 0, 0xffff, 0)
        | (0x64, 0xff9b, 0, 0, 0, 0)
        | (0x64, 0xff9b, 1, _, _, _) => Some(of(high, low)),
        (0x2002, _, _, _, _, _) => Some(of(second, third)),
        _ => None,
    }
}

/// What a name resolves to.
pub type LookUp = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Resolves names and refuses those that lead where nothing may.
pub struct Resolver {
    reach: Reach,
    look_up: LookUp,
}

impl Resolver {
    /// That reaches so far.
    pub fn new(reach: Reach) -> Self {
        let look_up = |host: String| -> BoxFuture<'static, _> {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) })
        };
        Self::asking(reach, Arc::new(look_up))
    }

    /// That asks something else than the system, for tests.
    pub fn asking(reach: Reach, look_up: LookUp) -> Self {
        Self { reach, look_up }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Resolver({:?})", self.reach)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, found) = (self.reach, (self.look_up)(name.as_str().to_owned()));
        Box::pin(async move {
            let found = found.await?;
            // One that may not be is one too many: which of them is connected to is not for the name to choose.
            if !found.iter().all(|address| reach.allows(address.ip())) {
                return Err(OutOfReach.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// An address, or a name that leads to one, where nothing may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address is none, or is of this machine, its link or a cloud's own services, where nothing is asked"
)]
pub struct OutOfReach;

/// Whether this is, at the bottom of it, a name that was refused.
pub fn is_out_of_reach(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(<dyn std::error::Error>::is::<OutOfReach>)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn this_machine_its_link_and_metadata_are_not_reached_in_any_spelling() {
        for forbidden in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "::ffff:0:127.0.0.1",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(!Reach::Elsewhere.allows(address(forbidden)), "{forbidden}");
            assert!(Reach::Here.allows(address(forbidden)), "{forbidden}");
        }
        for allowed in ["10.1.2.3", "192.168.0.9", "172.16.4.5", "8.8.8.8", "2001:db8::1", "fd12:3456::1"] {
            assert!(Reach::Elsewhere.allows(address(allowed)), "{allowed}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_an_address_however_it_is_written() {
        for forbidden in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://2852039166/",
            "https://169.254.169.254/latest",
            "https://0/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://x.localhost/",
            "https://１２７.0.0.1/",
        ] {
            assert!(!Reach::Elsewhere.allows_url(&Url::parse(forbidden).unwrap()), "{forbidden}");
        }
        for allowed in ["https://pds.example.nhs.uk/x", "https://10.0.0.1/", "https://[2001:db8::1]/"] {
            assert!(Reach::Elsewhere.allows_url(&Url::parse(allowed).unwrap()), "{allowed}");
        }
    }

    /// A name that leads elsewhere when it is looked at, and here when it is used.
    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_refused_when_it_does() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counting = asked.clone();
        let look_up: LookUp = Arc::new(move |_| {
            let turn = counting.fetch_add(1, Ordering::SeqCst);
            let found = match turn {
                0 => vec!["10.0.0.9:0"],
                1 => vec!["10.0.0.9:0", "169.254.169.254:0"],
                _ => vec!["[::ffff:127.0.0.1]:0"],
            };
            Box::pin(async move { Ok(found.iter().map(|one| one.parse().unwrap()).collect()) })
        });
        let resolver = Resolver::asking(Reach::Elsewhere, look_up);
        let resolve = || resolver.resolve("records.example.org".parse().unwrap());
        assert!(resolve().await.is_ok());
        assert!(resolve().await.is_err(), "one of two is metadata");
        assert!(resolve().await.is_err(), "this machine, in ipv6's clothes");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn who_writes_this_machine_down_means_it() {
        for (said, reach) in [
            ("https://127.0.0.1:8443/keys", Reach::Here),
            ("https://localhost/keys", Reach::Here),
            ("http://[::1]:4318", Reach::Here),
            ("https://keys.example.org/", Reach::Elsewhere),
            ("https://10.0.0.8/", Reach::Elsewhere),
            ("https://169.254.169.254/latest", Reach::Elsewhere),
        ] {
            assert_eq!(Reach::said(&Url::parse(said).unwrap()), reach, "{said}");
        }
        assert_eq!(client("https://169.254.169.254/latest").err(), Some(OutOfReach));
        assert_eq!(client("not an address").err(), Some(OutOfReach));
        assert!(client("https://127.0.0.1:8443/keys").is_ok() && client("https://keys.example.org/").is_ok());
    }

    /// Sends everybody on to there, and counts whoever came.
    async fn sending_on(to: &str) -> (String, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (came, answer) = (
            Arc::new(AtomicUsize::new(0)),
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        );
        let counting = came.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counting.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4_096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (address, came)
    }

    #[tokio::test]
    async fn nobody_is_sent_on() {
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (elsewhere, came) = sending_on(&format!("http://{nowhere}/")).await;
        let (address, _) = sending_on(&elsewhere).await;
        let answer = client(&address).unwrap().build().unwrap().get(&address).send().await.unwrap();
        assert_eq!(answer.status(), 302);
        let blocking = std::thread::spawn(move || {
            let client = blocking_client(&address).unwrap().build().unwrap();
            client.get(&address).send().unwrap().status()
        });
        let answered = tokio::task::spawn_blocking(|| blocking.join().unwrap()).await.unwrap();
        assert_eq!(answered, 302);
        assert_eq!(came.load(Ordering::SeqCst), 0);
        // Another client is.
        let other = reqwest::Client::builder().no_proxy().build().unwrap();
        other.get(&elsewhere).send().await.unwrap_err();
        assert!(came.load(Ordering::SeqCst) > 0);
    }
}
