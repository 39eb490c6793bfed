//! The index contract against SlateDB on a real S3 server, or on the one that `DRIFTLESS_TEST_S3`
//! names.

use driftless_contract_tests::place::Place;

driftless_contract_tests::index_contract_on!(Place::s3().await);
