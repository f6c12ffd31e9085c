//! Where closed ranges of the ledger are kept outside the database: a folder, or an object store that speaks S3.
//!
//! What is there is a C2SP tlog-tiles directory (`tile/…`), which others' programs read, with a Parquet file and a
//! manifest for each range beside it (`blocks/…`). What is complete never changes: nothing is ever overwritten by other
//! bytes. Whether it is what was signed is for the reader to check; the store checks every leaf against its tree.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use ledger::tile::{TILE_WIDTH, TileOf, TileRef};
use object_store::{
    ClientOptions, Error as ObjectError, ObjectStore, ObjectStoreExt as _, PutPayload,
    aws::AmazonS3Builder,
    client::{HttpClient, HttpConnector},
    local::LocalFileSystem,
    path::Path as Name,
};
use reqwest::Certificate;
use store::LeafSource;

/// A place that cannot be used, or something in it.
#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    /// The settings do not name a place.
    #[error("{0}")]
    Settings(String),
    /// The store answers with an error.
    #[error("{name}: {error}")]
    Store {
        /// What was asked for.
        name: String,
        /// What it answers.
        error: ObjectError,
    },
    /// Something else is there under that name.
    #[error("{0} is there already and is something else; what is archived is never overwritten")]
    Other(String),
}

/// An object store that speaks S3.
#[derive(Debug, Default, Clone, Copy)]
pub struct S3<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// What names begin with; may be empty.
    pub prefix: &'a str,
    /// Its address.
    pub endpoint: &'a str,
    /// Its region.
    pub region: &'a str,
    /// The access key's identifier.
    pub access_key: &'a str,
    /// The access key.
    pub secret_key: &'a str,
    /// Whom its certificate is from, PEM; else whom the system trusts.
    pub trusted_pem: Option<&'a str>,
}

/// How long the store may take to be reached, and to answer whole.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Makes the client that asks the store.
#[derive(Debug)]
struct Connector {
    endpoint: String,
    trusted: Option<Vec<Certificate>>,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let unusable = |source| ObjectError::Generic { store: "S3", source };
        let client = outbound::client(&self.endpoint).map_err(|error| unusable(error.into()))?;
        let client = client.https_only(!self.endpoint.starts_with("http://")).http1_only();
        let client = match &self.trusted {
            Some(trusted) => client.tls_certs_only(trusted.iter().cloned()),
            None => client,
        };
        let client = client.connect_timeout(CONNECT_MAX).timeout(ANSWER_MAX).build();
        Ok(HttpClient::new(client.map_err(|error| unusable(error.into()))?))
    }
}

/// The place.
#[derive(Clone)]
pub struct Blocks {
    store: Arc<dyn ObjectStore>,
    prefix: Name,
}

impl fmt::Debug for Blocks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Blocks({})", self.store)
    }
}

impl Blocks {
    /// In a folder, which must be there.
    ///
    /// # Errors
    /// [`BlocksError::Settings`] when it is not.
    pub fn in_folder(folder: &Path) -> Result<Self, BlocksError> {
        let store = LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| BlocksError::Settings(format!("{}: {error}", folder.display())))?;
        Ok(Self { store: Arc::new(store.with_fsync(true)), prefix: Name::default() })
    }

    /// In an object store. Nobody is asked yet.
    ///
    /// # Errors
    /// [`BlocksError::Settings`] when the settings cannot be used.
    pub fn in_s3(settings: &S3<'_>) -> Result<Self, BlocksError> {
        let unusable = |error: ObjectError| BlocksError::Settings(error.to_string());
        let trusted =
            settings.trusted_pem.map(|pem| Certificate::from_pem_bundle(pem.as_bytes())).transpose();
        let trusted = trusted.map_err(|error| BlocksError::Settings(error.to_string()))?;
        let connector = Connector { endpoint: settings.endpoint.to_owned(), trusted };
        // Whether HTTP is to be allowed is the caller's to say, by the address.
        let options = ClientOptions::new().with_allow_http(settings.endpoint.starts_with("http://"));
        let store = AmazonS3Builder::new()
            .with_bucket_name(settings.bucket)
            .with_endpoint(settings.endpoint)
            .with_region(settings.region)
            .with_access_key_id(settings.access_key)
            .with_secret_access_key(settings.secret_key)
            .with_client_options(options)
            .with_http_connector(connector)
            .build()
            .map_err(unusable)?;
        Ok(Self { store: Arc::new(store), prefix: Name::from(settings.prefix) })
    }

    fn name(&self, name: &str) -> Name {
        self.prefix.parts().chain(Name::from(name).parts()).collect()
    }

    /// What is kept under a name; `None` where nothing is.
    ///
    /// # Errors
    /// [`BlocksError::Store`] when the store cannot be asked.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, BlocksError> {
        let failed = |error| BlocksError::Store { name: name.to_owned(), error };
        match self.store.get(&self.name(name)).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?.to_vec())),
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps bytes under a name. The same again is no error.
    ///
    /// # Errors
    /// [`BlocksError::Other`] where something else is there, [`BlocksError::Store`] when the store cannot be asked.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), BlocksError> {
        match self.get(name).await? {
            Some(there) if there == bytes => return Ok(()),
            Some(_) => return Err(BlocksError::Other(name.to_owned())),
            None => {}
        }
        let put = self.store.put(&self.name(name), PutPayload::from(bytes)).await;
        put.map(drop).map_err(|error| BlocksError::Store { name: name.to_owned(), error })
    }
}

impl LeafSource for Blocks {
    fn bundle(&self, index: u64) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async move {
            let name = TileRef { of: TileOf::Entries, index, width: TILE_WIDTH }.to_string();
            let bundle = self.get(&name).await.map_err(|error| error.to_string())?;
            bundle.ok_or_else(|| format!("{name} is missing from the archive"))
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    /// Whoever answers for the store, or has taken its place, sends nobody on; and no setting leads to a cloud's own services.
    #[tokio::test]
    async fn the_archive_is_where_the_settings_say() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", store.local_addr().unwrap());
        let settings = S3 {
            bucket: "archive",
            region: "eu-west-2",
            access_key: "AK",
            secret_key: "SK",
            ..S3::default()
        };
        let blocks = Blocks::in_s3(&S3 { endpoint: &endpoint, ..settings }).unwrap();
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/archive/x\r\nContent-Length: 0\r\n\r\n",
            elsewhere.local_addr().unwrap()
        );
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = store.accept().await {
                let _ = stream.read(&mut [0; 8_192]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        assert!(matches!(blocks.get("x").await, Err(BlocksError::Store { .. })));
        assert!(timeout(Duration::from_millis(300), elsewhere.accept()).await.is_err(), "it was sent on");
        let metadata = Blocks::in_s3(&S3 { endpoint: "http://169.254.169.254", ..settings });
        assert!(matches!(metadata, Err(BlocksError::Settings(_))));
    }
}
