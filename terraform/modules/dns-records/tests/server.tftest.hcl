# What names the server, the zone and the key. The spelling without a dot at the end was once a
# difference in every plan.

variables {
  zone     = "home.sflab.io."
  server   = "192.0.2.53"
  key_name = "ddnskey."
  records  = { node1 = { name = "node1", addresses = ["192.0.2.1"] } }
}

run "zone_must_be_a_domain_name" {
  command = plan
  variables {
    zone = "home..io"
  }
  expect_failures = [var.zone]
}

run "server_must_be_without_port" {
  command = plan
  variables {
    server = "192.0.2.53:53"
  }
  expect_failures = [var.server]
}

run "port_must_be_one" {
  command = plan
  variables {
    port = 65536
  }
  expect_failures = [var.port]
}

run "ttl_must_be_positive" {
  command = plan
  variables {
    ttl = 0
  }
  expect_failures = [var.ttl]
}

run "key_must_have_a_name" {
  command = plan
  variables {
    key_name = ""
  }
  expect_failures = [var.key_name]
}

run "old_algorithms_are_refused" {
  command = plan
  variables {
    key_algorithm = "hmac-md5"
  }
  expect_failures = [var.key_algorithm]
}

run "secret_variable_must_be_a_name" {
  command = plan
  variables {
    key_secret_variable = "aHVudGVyMg=="
  }
  expect_failures = [var.key_secret_variable]
}

run "uuid_must_be_one" {
  command = plan
  variables {
    cluster_uuid = "1234"
  }
  expect_failures = [var.cluster_uuid]
}

run "the_dot_at_the_end_may_be_left_out" {
  command = plan
  variables {
    zone          = "Home.sflab.io"
    key_name      = "ddnskey"
    server        = "2001:db8::53"
    key_algorithm = "hmac-sha512"
  }
  assert {
    condition     = output.fqdns.node1 == "node1.home.sflab.io."
    error_message = "The zone must be taken in its canonical spelling."
  }
}
