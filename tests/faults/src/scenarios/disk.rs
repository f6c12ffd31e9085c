//! Disks: full, slow, hanging, read-only, and files that are taken away under a gateway.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Length, ORDINARY, Running, compiled, loaded, ms, preloaded, running, shell};
use crate::deployment::{Deployment, Place, Replica, Site, Store};

const SLOW: &str = r"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int slow(const char *name, int fd) {
    usleep(20000);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}
int fsync(int fd) { return slow(__func__, fd); }
int fdatasync(int fd) { return slow(__func__, fd); }
";

pub async fn no_space(length: Length) -> Value {
    let fifo = tempfile::tempdir().unwrap();
    let control = fifo.path().join("fiu");
    let mut running = running(Store::File, 1, |_, replica| {
        preloaded(replica, "/usr/lib/fiu/fiu_run_preload.so /usr/lib/fiu/fiu_posix_preload.so");
        replica.environment.push(("FIU_CTRL_FIFO".to_owned(), control.display().to_string()));
        replica.environment.push(("FIU_ENABLE".to_owned(), String::new()));
    })
    .await;
    let process = running.deployment.replicas[0].process();
    let full = |is_full: bool| {
        for point in ["posix/io/rw/pwrite", "posix/io/rw/pwrite64"] {
            // 28 is ENOSPC.
            let what = if is_full {
                format!("enable name={point},failinfo=28")
            } else {
                format!("disable name={point}")
            };
            let told = Command::new("fiu-ctrl")
                .arg("-f")
                .arg(&control)
                .args(["-c", &what, &process.to_string()])
                .output();
            let told = told.unwrap();
            assert!(told.status.success(), "{told:?}");
        }
    };
    let mut restarts = 0;
    for _ in 0..length.or(1, 20) {
        full(true);
        running.unrecordable(sleep(Duration::from_secs(2))).await;
        full(false);
        // It goes on by itself, or says that it has to be started again.
        if !running.deployment.replicas[0].is_ready_within(Duration::from_secs(5)).await {
            let replica = &mut running.deployment.replicas[0];
            assert!(replica.said().contains("restart the process"), "{}", replica.said());
            replica.kill();
            replica.start();
            restarts += 1;
            assert!(replica.is_ready_within(Duration::from_secs(20)).await);
            break;
        }
        running.answers_within(Duration::from_secs(20)).await;
    }
    running.answers_within(Duration::from_secs(20)).await;
    running.end(json!({ "times_full": length.or(1, 20), "restarts": restarts })).await
}

pub async fn slow_disk(length: Length) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let library = compiled(folder.path(), "slow", SLOW);
    let count = async |library: Option<&Path>| {
        let change = |_, replica: &mut Replica| {
            if let Some(library) = library {
                preloaded(replica, &library.display().to_string());
            }
        };
        let running = running(Store::File, 1, change).await;
        let before = running.account.received.load(Ordering::Relaxed);
        sleep(Duration::from_secs(length.or(4, 60))).await;
        let received = running.account.received.load(Ordering::Relaxed) - before;
        (received, running.end(json!({})).await)
    };
    let (quick, _) = count(None).await;
    let (slow, mut counts) = count(Some(&library)).await;
    assert!(slow > 0);
    let members = counts.as_object_mut().unwrap();
    members.insert("records_with_the_disk_as_it_is".to_owned(), quick.into());
    members.insert("records_with_the_slow_disk".to_owned(), slow.into());
    counts
}

/// What a small disk is: a file system of its own in a file.
const SMALL: &str = "truncate -s 24M image && mkfs.ext4 -q -E nodiscard image && mkdir -p disk && mount -o loop,errors=remount-ro image disk";

fn small(disk: &Path) {
    shell(disk.parent().unwrap(), SMALL);
}

/// A gateway whose file is on a small disk, under load.
async fn on_small_disk() -> Running {
    let site = Site { server: None, places: vec![Place::default()], disk: Some(small) };
    loaded(Deployment::start_in(site, |_, _| {}).await, &ORDINARY).await
}

/// Waits until the gateway says that it cannot record.
async fn says_so(running: &Running, longest: Duration) {
    let begun = Instant::now();
    while running.deployment.replicas[0].ready().await.is_some_and(|(status, _)| status == 200) {
        assert!(begun.elapsed() < longest, "it is ready and cannot record");
        sleep(Duration::from_millis(50)).await;
    }
}

/// It goes on by itself, or has said that it has to be started again. Whether it had to be.
async fn goes_on(running: &mut Running) -> bool {
    let by_itself = running.deployment.replicas[0].is_ready_within(Duration::from_secs(5)).await;
    if !by_itself {
        let replica = &mut running.deployment.replicas[0];
        assert!(replica.said().contains("restart the process"), "{}", replica.said());
        replica.kill();
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(20)).await, "{}", replica.said());
    }
    running.answers_within(Duration::from_secs(20)).await;
    !by_itself
}

pub async fn small_and_full(length: Length) -> Value {
    let mut running = on_small_disk().await;
    let folder = running.deployment.folder().to_owned();
    let mut restarts = 0;
    for _ in 0..length.or(2, 20) {
        shell(
            &folder,
            "dd if=/dev/zero of=disk/others bs=4k status=none 2>/dev/null; ! dd if=/dev/zero of=disk/more bs=4k count=1 status=none 2>/dev/null",
        );
        says_so(&running, Duration::from_mins(1)).await;
        running.unrecordable(sleep(Duration::from_secs(2))).await;
        shell(&folder, "rm disk/others disk/more");
        restarts += u64::from(goes_on(&mut running).await);
    }
    running.end(json!({ "times_full": length.or(2, 20), "restarts": restarts })).await
}

/// As a kernel does that finds a fault in the file system.
pub async fn only_read(length: Length) -> Value {
    let mut running = on_small_disk().await;
    let folder = running.deployment.folder().to_owned();
    for _ in 0..length.or(1, 20) {
        shell(&folder, "echo 1 > /sys/fs/ext4/$(basename $(findmnt -n -o SOURCE disk))/trigger_fs_error");
        says_so(&running, Duration::from_secs(20)).await;
        running.unrecordable(sleep(Duration::from_secs(2))).await;
        // Whoever looks after it ends the gateway, repairs the file system and puts it back.
        running.deployment.replicas[0].kill();
        shell(
            &folder,
            "device=$(findmnt -n -o SOURCE disk) && umount disk && { fsck.ext4 -fy image > /dev/null 2>&1 || [ $? = 1 ]; } && mount -o loop,errors=remount-ro image disk",
        );
        let replica = &mut running.deployment.replicas[0];
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(20)).await, "{}", replica.said());
        running.answers_within(Duration::from_secs(20)).await;
    }
    running.end(json!({ "times_only_read": length.or(1, 20) })).await
}

/// A file system that answers no writer, until this is dropped.
struct Frozen(PathBuf);

impl Frozen {
    fn at(disk: PathBuf) -> Self {
        shell(&disk, "fsfreeze -f .");
        Self(disk)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        shell(&self.0, "fsfreeze -u .");
    }
}

pub async fn hangs(length: Length) -> Value {
    let mut running = on_small_disk().await;
    let disk = running.deployment.folder().join("disk");
    let mut slowest = Duration::ZERO;
    for _ in 0..length.or(1, 10) {
        let frozen = Frozen::at(disk.clone());
        let begun = Instant::now();
        says_so(&running, Duration::from_secs(20)).await;
        slowest = slowest.max(begun.elapsed());
        running.unrecordable(sleep(Duration::from_secs(length.or(6, 60)))).await;
        drop(frozen);
        goes_on(&mut running).await;
    }
    running.end(json!({ "hung_s": length.or(6, 60), "said_so_ms_max": ms(slowest) })).await
}

/// The file under a gateway that runs: removed, another in its place, or cut off. Nothing more is given, and what was there is
/// put back.
pub async fn taken_away(_: Length) -> Value {
    let mut running = running(Store::File, 1, |_, _| {}).await;
    let folder = running.deployment.folder().to_owned();
    let mut slowest = Duration::ZERO;
    let ways = [
        ("mv concordat.db aside", "mv aside concordat.db"),
        ("mv concordat.db aside && cp aside concordat.db", "mv aside concordat.db"),
        ("mv concordat.db-wal aside", "mv aside concordat.db-wal"),
    ];
    for (taken, back) in ways {
        shell(&folder, taken);
        let begun = Instant::now();
        says_so(&running, Duration::from_secs(20)).await;
        slowest = slowest.max(begun.elapsed());
        running.unrecordable(sleep(Duration::from_secs(2))).await;
        running.deployment.replicas[0].kill();
        shell(&folder, &format!("rm -f concordat.db-shm; {back}"));
        let replica = &mut running.deployment.replicas[0];
        replica.start();
        assert!(replica.is_ready_within(Duration::from_secs(20)).await, "{}", replica.said());
        running.answers_within(Duration::from_secs(20)).await;
    }
    running.end(json!({ "ways": ways.len(), "said_so_ms_max": ms(slowest) })).await
}
