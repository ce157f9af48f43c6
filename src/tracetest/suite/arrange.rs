//! From documents to suites in the order in which they run.

use super::{Document, Problem, Test};

/// Tests that run one after the other and hand on their outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    /// Its name; of a test that stands alone, its file.
    pub name: String,
    /// Its tests.
    pub tests: Vec<Test>,
}

/// Finds the tests of every suite. Tests that no suite names form a suite a file.
pub fn arrange(documents: &[Document]) -> Result<Vec<Suite>, Problem> {
    let tests: Vec<&Test> = documents
        .iter()
        .filter_map(|document| match document {
            Document::Test(test) => Some(&**test),
            Document::Suite(_) => None,
        })
        .collect();
    let mut used = vec![false; tests.len()];
    let mut suites = Vec::new();
    for document in documents {
        let Document::Suite(suite) = document else {
            continue;
        };
        let mut steps = Vec::new();
        for step in &suite.steps {
            let is_meant = |test: &Test| match &step.file {
                Some(file) => test.file == *file,
                None => test.id.as_ref() == Some(&step.text) || test.name == step.text,
            };
            let before = steps.len();
            for (test, used) in tests.iter().zip(&mut used) {
                if is_meant(test) {
                    *used = true;
                    steps.push((*test).clone());
                }
            }
            if steps.len() == before {
                return Err(step.missing.clone());
            }
        }
        suites.push(Suite {
            name: suite.name.clone(),
            tests: steps,
        });
    }
    for (test, _) in tests.iter().zip(used).filter(|(_, used)| !used) {
        let own = suites.iter_mut().find(|suite| suite.name == test.file);
        match own {
            Some(suite) => suite.tests.push((*test).clone()),
            None => suites.push(Suite {
                name: test.file.clone(),
                tests: vec![(*test).clone()],
            }),
        }
    }
    Ok(suites)
}
