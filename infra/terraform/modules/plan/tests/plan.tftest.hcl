variables {
  namespace      = "oppen"
  jobs_namespace = "oppen-jobs"
  labels         = { cost-centre = "42" }
  jobs           = {}
  serving        = {}
  gpu_pool       = {}
  network        = {}
}

run "defaults_are_closed" {
  command = plan

  assert {
    condition     = length(output.egress.jobs) == 0 && length(output.egress.service) == 0
    error_message = "nothing is let out that nobody asked for"
  }

  assert {
    condition     = alltrue([for namespace in output.namespaces : namespace.labels["pod-security.kubernetes.io/enforce"] == "restricted"])
    error_message = "both namespaces keep the restricted standard"
  }

  assert {
    condition     = output.namespaces.jobs.labels["cost-centre"] == "42"
    error_message = "the labels for cost are on the namespaces"
  }
}

run "the_service_may_do_nothing_to_secrets_and_nothing_at_all_everywhere" {
  command = plan

  assert {
    condition = alltrue([
      for rule in concat(output.rights.jobs, output.rights.service) :
      !contains(rule.resources, "secrets") && !contains(rule.resources, "*") && !contains(rule.verbs, "*") && !contains(rule.api_groups, "*")
    ])
    error_message = "rights are named one by one"
  }

  assert {
    condition     = alltrue([for rule in output.rights.service : length(rule.resource_names) > 0])
    error_message = "in its own namespace the service changes named objects only"
  }
}

run "serving_comes_before_training" {
  command = plan

  assert {
    condition     = output.priorities["oppen-serving"].value > output.priorities["oppen-gpu-training"].value && output.priorities["oppen-gpu-training"].value > output.priorities["oppen-training"].value
    error_message = "serving, then GPUs, then the rest"
  }

  assert {
    condition     = output.priorities["oppen-training"].preemption_policy == "Never"
    error_message = "training ends nobody's work"
  }
}

run "the_api_server_is_open_to_the_service_and_not_to_jobs" {
  command = plan

  variables {
    network = {
      api_server_cidrs = ["10.0.0.1/32"]
      job_egress       = [{ cidr = "10.1.0.0/16", ports = [443] }]
    }
  }

  assert {
    condition     = [for way in output.egress.service : way.cidr] == ["10.0.0.1/32"] && [for way in output.egress.jobs : way.cidr] == ["10.1.0.0/16"]
    error_message = "each has its own ways out"
  }
}

run "gpus_are_tainted_labelled_and_counted" {
  command = plan

  variables {
    jobs     = { total_gpus = 4, most_gpus = 2 }
    gpu_pool = { label = "pool", value = "a100" }
  }

  assert {
    condition     = output.quota["requests.nvidia.com/gpu"] == "4" && output.limits.max["nvidia.com/gpu"] == "2"
    error_message = "quota and limit are those that were given"
  }

  assert {
    condition     = output.gpu_taints[0].key == "nvidia.com/gpu" && output.gpu_taints[0].effect == "NoSchedule" && output.gpu_node_selector["pool"] == "a100"
    error_message = "the pool's taint and label"
  }
}

run "one_namespace_for_both_is_refused" {
  command = plan

  variables {
    jobs_namespace = "oppen"
  }

  expect_failures = [output.namespaces]
}

run "a_default_above_the_limit_is_refused" {
  command = plan

  variables {
    jobs = { default_cpu = 64 }
  }

  expect_failures = [var.jobs]
}

run "no_names_would_be_all_of_them" {
  command = plan

  variables {
    serving = { config_maps = [] }
  }

  expect_failures = [var.serving]
}

run "an_address_is_a_cidr" {
  command = plan

  variables {
    network = { job_egress = [{ cidr = "example.org", ports = [443] }] }
  }

  expect_failures = [var.network]
}

run "a_way_out_has_ports" {
  command = plan

  variables {
    network = { job_egress = [{ cidr = "10.0.0.0/8", ports = [] }] }
  }

  expect_failures = [var.network]
}
