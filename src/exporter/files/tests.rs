//! The output directory on a real file system.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::manifest::MANIFEST_FILE;
use super::*;
use crate::disk::TEMPORARY_PREFIX;

struct Fixture {
    folder: TempDir,
    directory: OutputDirectory,
}

impl Fixture {
    fn new(limit: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = OutputDirectory::new(folder.path().join("out"), limit);
        Self { folder, directory }
    }

    /// The same directory as the next run of the program sees it.
    fn restart(&mut self, limit: usize) {
        self.directory = OutputDirectory::new(self.root(), limit);
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn content(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    async fn publish(&self, files: &[(&str, &str)]) -> Published {
        self.directory
            .publish("test", of_services(files))
            .await
            .unwrap()
    }

    /// Everything in the directory, our manifest apart.
    fn tree(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let path = path.strip_prefix(self.root()).unwrap();
                    found.push(path.to_str().unwrap().to_owned());
                }
            }
        }
        found.retain(|path| path != MANIFEST_FILE);
        found.sort();
        found
    }
}

fn of_services(files: &[(&str, &str)]) -> Vec<OutputFile> {
    files
        .iter()
        .map(|(path, content)| OutputFile::of_service(*path, (*content).to_owned()))
        .collect()
}

fn did(written: usize, removed: usize, refused: usize) -> Published {
    Published {
        written,
        removed,
        refused,
    }
}

#[tokio::test]
async fn files_are_written_whole_and_leave_no_temporary_file() {
    let fixture = Fixture::new(9);
    let published = fixture
        .publish(&[("a/one.json", "1"), ("b/two.json", "2")])
        .await;
    assert_eq!(published, did(2, 0, 0));
    assert_eq!(fixture.content("a/one.json").unwrap(), "1");
    assert_eq!(fixture.tree(), ["a/one.json", "b/two.json"]);
}

#[cfg(unix)]
#[tokio::test]
async fn unchanged_content_is_not_rewritten_and_changed_content_is_a_new_file() {
    use std::os::unix::fs::MetadataExt;

    let mut fixture = Fixture::new(9);
    let inode = |fixture: &Fixture| fs::metadata(fixture.path("a.json")).unwrap().ino();
    fixture.publish(&[("a.json", "same")]).await;
    let (first, manifest) = (inode(&fixture), fixture.content(MANIFEST_FILE));

    assert_eq!(fixture.publish(&[("a.json", "same")]).await, did(0, 0, 0));
    fixture.restart(9);
    assert_eq!(fixture.publish(&[("a.json", "same")]).await, did(0, 0, 0));
    assert_eq!(inode(&fixture), first);
    assert_eq!(fixture.content(MANIFEST_FILE), manifest);

    assert_eq!(fixture.publish(&[("a.json", "other")]).await, did(1, 0, 0));
    assert_ne!(inode(&fixture), first);
}

#[tokio::test]
async fn a_time_stamp_alone_changes_nothing() {
    let json = |second: &str, verdict: &str| {
        format!("{{\n  \"verdict\": \"{verdict}\",\n  \"generated_at\": \"{second}\"\n}}\n")
    };
    let fixture = Fixture::new(9);
    fixture.publish(&[("v.json", &json("1", "pass"))]).await;
    let later = fixture.publish(&[("v.json", &json("2", "pass"))]).await;
    assert_eq!(later, did(0, 0, 0));
    assert_eq!(fixture.content("v.json").unwrap(), json("1", "pass"));
    let changed = fixture.publish(&[("v.json", &json("3", "fail"))]).await;
    assert_eq!(changed, did(1, 0, 0));

    // The file that was kept with its old time stamp is still known as ours.
    fixture.publish(&[("v.json", &json("4", "fail"))]).await;
    assert_eq!(fixture.publish(&[]).await, did(0, 1, 0));
}

#[tokio::test]
async fn a_file_that_somebody_removed_or_changed_is_restored() {
    let fixture = Fixture::new(9);
    let files = [("a.json", "a"), ("b.json", "b")];
    fixture.publish(&files).await;
    fs::remove_file(fixture.path("a.json")).unwrap();
    fs::write(fixture.path("b.json"), "edited").unwrap();
    assert_eq!(fixture.publish(&files).await, did(2, 0, 0));
    assert_eq!(fixture.content("b.json").unwrap(), "b");
}

#[tokio::test]
async fn files_of_a_vanished_service_are_removed_also_after_a_restart() {
    let mut fixture = Fixture::new(9);
    let files = [("a.json", "a"), ("b.json", "b"), ("c.json", "c")];
    fixture.publish(&files).await;
    assert_eq!(fixture.publish(&files[..2]).await, did(0, 1, 0));
    assert_eq!(fixture.tree(), ["a.json", "b.json"]);
    fixture.restart(9);
    assert_eq!(fixture.publish(&files[..1]).await, did(0, 1, 0));
    assert_eq!(fixture.tree(), ["a.json"]);
}

#[tokio::test]
async fn files_of_users_and_of_other_exporters_stay() {
    let fixture = Fixture::new(9);
    fixture
        .publish(&[("a.json", "a"), ("edited.json", "ours")])
        .await;
    let others = vec![OutputFile::of_service("other.json", "o".to_owned())];
    fixture.directory.publish("other", others).await.unwrap();
    fs::write(fixture.path("notes.txt"), "mine").unwrap();
    fs::write(fixture.path("edited.json"), "mine now").unwrap();

    assert_eq!(fixture.publish(&[]).await, did(0, 1, 0));
    assert_eq!(fixture.tree(), ["edited.json", "notes.txt", "other.json"]);
    assert_eq!(fixture.content("edited.json").unwrap(), "mine now");
}

#[tokio::test]
async fn a_manifest_cannot_make_us_remove_files_outside_the_directory() {
    let fixture = Fixture::new(9);
    let outside = fixture.folder.path().join("outside.txt");
    fs::write(&outside, "precious").unwrap();
    fs::create_dir(fixture.root()).unwrap();
    let hash = content_hash(b"precious");
    let entry = format!(r#"{{"exporter": "test", "xxh3": "{hash}"}}"#);
    let absolute = outside.display();
    let manifest = format!(r#"{{"files": {{"../outside.txt": {entry}, "{absolute}": {entry}}}}}"#);
    fs::write(fixture.path(MANIFEST_FILE), manifest).unwrap();
    assert_eq!(fixture.publish(&[]).await, did(0, 0, 0));
    assert!(outside.exists());
}

#[tokio::test]
async fn a_manifest_that_is_no_manifest_owns_nothing() {
    let mut fixture = Fixture::new(9);
    fixture.publish(&[("a.json", "a")]).await;
    fs::write(fixture.path(MANIFEST_FILE), "{").unwrap();
    fixture.restart(9);
    assert_eq!(fixture.publish(&[("b.json", "b")]).await, did(1, 0, 0));
    assert_eq!(fixture.tree(), ["a.json", "b.json"]);
    assert!(fixture.content(MANIFEST_FILE).unwrap().contains("b.json"));
}

#[tokio::test]
async fn the_limit_refuses_further_services_and_spares_fixed_files() {
    let fixture = Fixture::new(2);
    let mut files = of_services(&[("b.json", "b"), ("c.json", "c"), ("d.json", "d")]);
    files.push(OutputFile::fixed("all.json", "all".to_owned()));
    let published = fixture.directory.publish("test", files).await.unwrap();
    assert_eq!(published, did(3, 0, 1));
    assert_eq!(fixture.tree(), ["all.json", "b.json", "c.json"]);

    // The limit is one for all exporters.
    let others = of_services(&[("other.json", "o")]);
    let published = fixture.directory.publish("other", others).await.unwrap();
    assert_eq!(published, did(0, 0, 1));

    // A file keeps its place when one that sorts before it appears, and gives it up when it vanishes.
    let published = fixture
        .publish(&[("a.json", "a"), ("b.json", "b"), ("c.json", "c")])
        .await;
    assert_eq!(published, did(0, 0, 1));
    let published = fixture.publish(&[("a.json", "a"), ("c.json", "c")]).await;
    assert_eq!(published, did(1, 1, 0));
    assert_eq!(fixture.tree(), ["a.json", "all.json", "c.json"]);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_and_similar_files_stay() {
    let fixture = Fixture::new(9);
    fs::create_dir_all(fixture.path("openslo")).unwrap();
    for folder in ["", "openslo/"] {
        let leftover = format!("{folder}{TEMPORARY_PREFIX}x1y2z3");
        fs::write(fixture.path(&leftover), "half").unwrap();
        fs::write(fixture.path(&format!("{folder}.tmp-x1y2z3")), "mine").unwrap();
    }
    fixture.publish(&[("openslo/a.yaml", "a")]).await;
    assert_eq!(
        fixture.tree(),
        [".tmp-x1y2z3", "openslo/.tmp-x1y2z3", "openslo/a.yaml"]
    );
}

#[tokio::test]
async fn a_file_that_fails_does_not_hold_up_the_others() {
    let fixture = Fixture::new(9);
    fs::create_dir_all(fixture.path("a.json/not-a-file")).unwrap();
    let files = of_services(&[("a.json", "a"), ("b.json", "b")]);
    let error = fixture.directory.publish("test", files).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    assert_eq!(fixture.content("b.json").unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_was_given_up_does_not_overtake_the_next() {
    let fixture = Fixture::new(9);
    let writing = Arc::clone(&fixture.directory.state).lock_owned().await;
    let stale = fixture
        .directory
        .publish("test", of_services(&[("a.json", "stale")]));
    let given_up = tokio::time::timeout(Duration::from_secs(5), stale).await;
    assert!(given_up.is_err());
    drop(writing);
    assert_eq!(fixture.publish(&[("a.json", "new")]).await, did(1, 0, 0));
    assert_eq!(fixture.content("a.json").unwrap(), "new");
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_as_readable_as_any_new_file() {
    use std::os::unix::fs::PermissionsExt;

    let fixture = Fixture::new(9);
    fixture.publish(&[("a.json", "a")]).await;
    fs::write(fixture.path("usual"), "").unwrap();
    let mode = |path| {
        fs::metadata(fixture.path(path))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("a.json"), mode("usual"));
}
