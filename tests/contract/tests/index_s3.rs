//! The index contract against SlateDB on an S3 server: a real one that the test starts, or the one
//! that `DRIFTLESS_TEST_S3` names.

use driftless_contract_tests::place::Place;

driftless_contract_tests::index_contract_on!(Place::s3().await);
