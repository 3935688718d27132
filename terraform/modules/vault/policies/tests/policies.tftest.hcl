# Needs no provider. What the policies allow is compared with a plan, and tried, in terraform/tests.

variables {
  transit_mount    = "transit"
  data_keys        = ["feedback"]
  outputs_keys     = ["feedback-outputs"]
  audit_key        = "audit-log"
  signer_key       = "dataset-signer"
  broker_oidc_role = "strongroom-broker"
  log_oidc_role    = "strongroom-log"
}

run "no_owner_by_default" {
  command = plan

  assert {
    condition     = join(" ", sort(keys(output.policies))) == "broker log releaser sealer"
    error_message = "without owner_oidc_role there are four identities"
  }
}

run "owner_gets_tokens_and_no_key" {
  command = plan

  variables {
    owner_oidc_role = "strongroom-owner"
  }

  assert {
    condition     = join(" ", keys(output.grants.owner)) == "identity/oidc/token/strongroom-owner"
    error_message = "the owner reads its own identity token and nothing else"
  }
}

run "log_s_identity_gets_tokens_and_no_key" {
  command = plan

  assert {
    condition     = join(" ", keys(output.grants.log)) == "identity/oidc/token/strongroom-log"
    error_message = "the identity for the log reads its own identity token and nothing else"
  }

  assert {
    condition     = !anytrue([for path in keys(output.grants.releaser) : startswith(path, "identity/")])
    error_message = "whoever holds the keys has no token for a bucket"
  }
}

run "log_has_an_identity_of_its_own" {
  command = plan

  variables {
    log_oidc_role = "strongroom-broker"
  }

  expect_failures = [output.grants]
}

run "log_has_a_key_of_its_own" {
  command = plan

  variables {
    audit_key = "feedback"
  }

  expect_failures = [output.grants]
}

run "outputs_have_keys_of_their_own" {
  command = plan

  variables {
    outputs_keys = ["feedback"]
  }

  expect_failures = [output.grants]
}
