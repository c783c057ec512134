# Against the provider's own schema, without a cluster.
mock_provider "kubernetes" {}

run "accounts_and_rights" {
  command = plan

  assert {
    condition     = kubernetes_service_account_v1.jobs.automount_service_account_token == false
    error_message = "jobs get no token"
  }

  assert {
    condition     = length(kubernetes_role_v1.service["jobs"].rule) == 5 && length(kubernetes_role_v1.service["service"].rule) == 2
    error_message = "the rules of the plan, and no others"
  }

  assert {
    condition     = kubernetes_role_binding_v1.service["jobs"].subject[0].namespace == "oppen"
    error_message = "the rights on jobs are the service's, from its own namespace"
  }
}

run "the_record_of_scaling_is_there_and_may_be_changed" {
  command = plan

  assert {
    condition     = kubernetes_config_map_v1.scaling.metadata[0].namespace == "oppen" && contains(kubernetes_role_v1.service["service"].rule[0].resource_names, kubernetes_config_map_v1.scaling.metadata[0].name)
    error_message = "the service can neither make it nor change another"
  }
}

run "the_record_of_capacity_is_with_the_jobs_and_may_be_changed" {
  command = plan

  assert {
    condition     = kubernetes_config_map_v1.capacity.metadata[0].namespace == "oppen-jobs" && anytrue([for rule in kubernetes_role_v1.service["jobs"].rule : contains(coalesce(rule.resource_names, []), kubernetes_config_map_v1.capacity.metadata[0].name) && contains(rule.verbs, "patch")])
    error_message = "how trainings are bought can be changed"
  }
}

run "closed_unless_opened" {
  command = plan

  assert {
    condition     = length(kubernetes_network_policy_v1.closed) == 2 && length(kubernetes_network_policy_v1.outside) == 0
    error_message = "both namespaces are closed, and nothing is let out that nobody asked for"
  }
}

run "checkpoints_when_asked_for" {
  command = plan

  variables {
    checkpoints = { size = "100Gi", storage_class = "nfs" }
  }

  assert {
    condition     = kubernetes_persistent_volume_claim_v1.checkpoints[0].spec[0].access_modes == toset(["ReadWriteMany"])
    error_message = "all nodes mount it"
  }
}

run "gpu_nodes_when_named" {
  command = plan

  variables {
    gpu_pool = { nodes = ["gpu-1", "gpu-2"] }
  }

  assert {
    condition     = length(kubernetes_node_taint.gpu) == 2 && length(kubernetes_labels.gpu) == 2
    error_message = "each is tainted and labelled"
  }
}
