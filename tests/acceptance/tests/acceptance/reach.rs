//! Where record holders may be, and how they are reached.

use acceptance::World;
use gateway::{clock::SystemEntropy, serve};
use std::sync::Arc;

#[tokio::test]
async fn a_record_holder_on_this_machine_or_its_link_is_refused_unless_the_settings_say_so() {
    let world = World::new().await;
    serve::check(&world.settings).await.unwrap();
    for base in [
        None, // as the harness has it: localhost
        Some("https://127.0.0.1:9/x"),
        Some("https://2130706433/x"),
        Some("https://[::ffff:127.0.0.1]/x"),
        Some("https://169.254.169.254/latest"),
        Some("https://[fe80::1]/x"),
    ] {
        let mut settings = world.settings.clone();
        let folder = world.folder.path().join("other");
        std::fs::create_dir_all(&folder).unwrap();
        settings.ledger.database = store::Database::File(folder.join("concordat.db"));
        settings.ledger.checkpoint_copy = folder.join("checkpoint.txt");
        for provider in settings.providers.values_mut() {
            provider.loopback = false;
            if let Some(base) = base {
                provider.base_url = Some(base.to_owned());
            }
        }
        let built = serve::build(&settings, Arc::new(world.clock.clone()), Arc::new(SystemEntropy)).await;
        let said = format!("{:#}", built.err().unwrap());
        assert!(said.contains("loopback = true"), "{base:?}: {said}");
        // Whoever looks before the start hears the same.
        let checked = serve::check(&settings).await.unwrap_err();
        assert_eq!(format!("{checked:#}"), said);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[tokio::test]
async fn a_record_holder_that_offers_http_2_is_asked_over_one_connection() {
    let world = World::new().await;
    for number in ["9732110317", "9733162043", "9736363015"] {
        assert_eq!(world.send(world.prevention(number)).await.status, 200, "{number}");
    }
    let together = (0..8).map(|_| world.send(world.prevention("9732110317")));
    for answer in futures_util::future::join_all(together).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(world.asked["nhs"].asked().len(), 11);
    assert_eq!(world.asked["nhs"].connections(), ["h2"]);
}
