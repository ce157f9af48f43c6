//! Daily volumes of files.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::cli::Usage;

/// More than all telemetry there is; sums of it are still numbers.
const VOLUME_MAX: f64 = 1e18;

/// Refuses what is no volume.
pub(super) fn check_volumes(volumes: &[f64], source: &str) -> anyhow::Result<()> {
    let wrong = volumes
        .iter()
        .find(|volume| !(0.0..=VOLUME_MAX).contains(*volume));
    match wrong {
        None => Ok(()),
        Some(wrong) => Err(Usage(format!(
            "{source}: {wrong} is no volume; it must be a number from 0 to {VOLUME_MAX:e}"
        ))
        .into()),
    }
}

/// One day of a JSON file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Day {
    Volume(f64),
    Named { volume: f64 },
}

/// The volumes of a file, the oldest first.
pub(super) fn read_volumes(path: &Path) -> anyhow::Result<Vec<f64>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Usage(format!("cannot read {}: {error}", path.display())))?;
    if text.trim_start().starts_with('[') {
        let days: Vec<Day> = serde_json::from_str(&text)
            .map_err(|error| {
                Usage(format!(
                    "{}: {error}; expected an array of numbers, or of objects with `volume`",
                    path.display()
                ))
            })
            .context("the volumes cannot be read")?;
        let volumes = days.into_iter().map(|day| match day {
            Day::Volume(volume) | Day::Named { volume } => volume,
        });
        return Ok(volumes.collect());
    }
    let mut volumes = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let last = line.rsplit([',', ';', '\t']).next().unwrap_or_default();
        let last = last.trim().trim_matches('"');
        match last.parse() {
            Ok(volume) => volumes.push(volume),
            // A head, and empty lines.
            Err(_) if last.is_empty() || (number == 1 && volumes.is_empty()) => {}
            Err(_) => {
                let message = format!(
                    "{}:{number}: `{last}` is no number; the last column holds the volume of a day",
                    path.display()
                );
                return Err(Usage(message).into());
            }
        }
    }
    anyhow::ensure!(
        !volumes.is_empty(),
        Usage(format!("{} holds no volumes", path.display()))
    );
    Ok(volumes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(text: &str) -> Result<Vec<f64>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volumes");
        std::fs::write(&path, text).unwrap();
        read_volumes(&path).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn volumes_are_read_from_csv_and_json() {
        for text in [
            "day,spans\n2026-01-01,12\n2026-01-02,\"13.5\"\n\n",
            "12\n13.5\n",
            "[12, 13.5]",
            r#"[{"volume": 12, "day": "2026-01-01"}, {"volume": 13.5}]"#,
        ] {
            assert_eq!(volumes(text), Ok(vec![12.0, 13.5]), "{text}");
        }
    }

    #[test]
    fn a_broken_volume_is_named_by_its_line() {
        let error = volumes("day,spans\na,12\nb,many\n").unwrap_err();
        assert!(error.contains(":3: `many`"), "{error}");
        assert!(volumes("day,spans\n").unwrap_err().contains("no volumes"));
        assert!(
            volumes("[1, \"x\"]")
                .unwrap_err()
                .contains("array of numbers")
        );
    }
}
