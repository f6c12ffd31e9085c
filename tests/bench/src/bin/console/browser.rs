//! Somebody's browser, without what browsers do beside asking: one connection, cookies, links.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use reqwest::{StatusCode, header};

/// One connection to the console.
pub struct Browser {
    client: reqwest::Client,
    base: String,
    cookies: Vec<(String, String)>,
}

/// What the console said.
pub struct Answer {
    pub status: u16,
    pub text: String,
    pub took: Duration,
    location: Option<String>,
}

fn client(state: &Path) -> anyhow::Result<reqwest::Client> {
    let authority = std::fs::read(state.join("ca.pem"))?;
    Ok(reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?)
}

/// Waits until the console answers.
pub async fn until_ready(state: &Path, base: &str) -> anyhow::Result<()> {
    let client = client(state)?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(5) {
        if client.get(base).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the console does not answer")
}

impl Browser {
    pub fn open(state: &Path, base: &str) -> anyhow::Result<Self> {
        Ok(Self { client: client(state)?, base: base.to_owned(), cookies: Vec::new() })
    }

    /// Through the demonstration's provider, as one of its people.
    pub async fn sign_in(&mut self, provider: &str, who: &str) -> anyhow::Result<()> {
        let away = self.get("/sign-in?to=/").await?.location.context("it leads nowhere")?;
        ensure!(away.starts_with(provider), "it leads elsewhere");
        let back = self.client.get(format!("{away}&who={who}")).send().await?;
        let back = back.headers().get(header::LOCATION).context("nobody comes back")?.to_str()?.to_owned();
        let path = back.strip_prefix(&self.base).context("back elsewhere")?.to_owned();
        let answer = self.get(&path).await?;
        ensure!(answer.status == StatusCode::SEE_OTHER.as_u16(), "{who} is not signed in: {}", answer.status);
        Ok(())
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.ask(&(path.to_owned(), None)).await
    }

    /// Asks, and takes the time from sending to the last byte.
    pub async fn ask(&mut self, (path, form): &(String, Option<String>)) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.base);
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = match form {
            Some(form) => self
                .client
                .post(url)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::ORIGIN, &self.base)
                .body(form.clone()),
            None => self.client.get(url),
        };
        let request = request.header(header::COOKIE, cookies.join("; "));
        let began = Instant::now();
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = String::from_utf8_lossy(&answer.bytes().await?).into_owned();
        let took = began.elapsed();
        for set in headers.get_all(header::SET_COOKIE) {
            let pair = set.to_str()?.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').context("a cookie without a name")?;
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        let location = headers.get(header::LOCATION).and_then(|place| place.to_str().ok()).map(str::to_owned);
        Ok(Answer { status, text, took, location })
    }

    /// What forms of this page carry.
    pub async fn csrf(&mut self, path: &str) -> anyhow::Result<String> {
        let page = self.get(path).await?;
        let (_, rest) = page.text.split_once("name=\"csrf\" value=\"").context("a page without a form")?;
        Ok(rest.split('"').next().unwrap_or_default().to_owned())
    }
}

/// Where a page leads here.
pub fn links(page: &str) -> Vec<String> {
    let places = page.split("href=\"/").skip(1).filter_map(|rest| rest.split('"').next());
    let places = places.map(|place| format!("/{}", place.replace("&amp;", "&")));
    let is_page = |place: &String| {
        let path = place.split(['?', '#']).next().unwrap_or_default();
        !path.starts_with("/assets") && !path.starts_with("/sign") && !place.contains('#')
    };
    places.filter(is_page).collect()
}

/// What kind of page it is: its address without whose or which.
pub fn kind(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut parts: Vec<&str> = path.split('/').collect();
    if let Some(of) = parts.get_mut(2).filter(|part| !["new"].contains(part)) {
        *of = "…";
    }
    if let Some(of) = parts.get_mut(4) {
        *of = "…";
    }
    let query = query.filter(|query| path == "/trail" && !query.contains("cursor="));
    match query {
        Some(query) => format!("{}?{query}", parts.join("/")),
        None if path == "/trail" && parts.len() == 2 => "/trail".to_owned(),
        None => parts.join("/"),
    }
}
