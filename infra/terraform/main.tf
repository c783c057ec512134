# What the platform needs of a cluster: two namespaces with their limits, two accounts with their rights, priorities, the GPU
# pool's taint, and a network that is closed unless opened. What is decided is in modules/plan, which needs no provider and is
# tested everywhere; what is here carries it out.

module "plan" {
  source         = "./modules/plan"
  namespace      = var.namespace
  jobs_namespace = var.jobs_namespace
  labels         = var.labels
  jobs           = var.jobs
  serving        = var.serving
  gpu_pool       = var.gpu_pool
  network        = var.network
}

resource "kubernetes_namespace_v1" "this" {
  for_each = module.plan.namespaces

  metadata {
    name   = each.value.name
    labels = each.value.labels
  }
}

resource "kubernetes_resource_quota_v1" "jobs" {
  metadata {
    name      = "oppen-jobs"
    namespace = kubernetes_namespace_v1.this["jobs"].metadata[0].name
    labels    = module.plan.labels
  }

  spec {
    hard = module.plan.quota
  }
}

resource "kubernetes_limit_range_v1" "jobs" {
  metadata {
    name      = "oppen-jobs"
    namespace = kubernetes_namespace_v1.this["jobs"].metadata[0].name
    labels    = module.plan.labels
  }

  spec {
    limit {
      type            = "Container"
      default         = module.plan.limits.default
      default_request = module.plan.limits.default
      max             = module.plan.limits.max
    }
  }
}

resource "kubernetes_persistent_volume_claim_v1" "checkpoints" {
  count = var.checkpoints == null ? 0 : 1

  metadata {
    name      = "oppen-checkpoints"
    namespace = kubernetes_namespace_v1.this["jobs"].metadata[0].name
    labels    = module.plan.labels
  }

  spec {
    access_modes       = ["ReadWriteMany"]
    storage_class_name = var.checkpoints.storage_class

    resources {
      requests = { storage = var.checkpoints.size }
    }
  }

  # A class that waits for its first consumer binds it when the first job runs.
  wait_until_bound = false
}

# The service may change it, and not make it: a right to make ConfigMaps cannot be bound to a name.
resource "kubernetes_config_map_v1" "scaling" {
  metadata {
    name      = module.plan.scaling_record
    namespace = kubernetes_namespace_v1.this["service"].metadata[0].name
    labels    = module.plan.labels
  }

  lifecycle {
    ignore_changes = [data, metadata[0].annotations]
  }
}

# Whose trainings are bought as spot: empty at first.
resource "kubernetes_config_map_v1" "capacity" {
  metadata {
    name      = module.plan.capacity_record
    namespace = kubernetes_namespace_v1.this["jobs"].metadata[0].name
    labels    = module.plan.labels
  }

  lifecycle {
    ignore_changes = [data, metadata[0].annotations]
  }
}
