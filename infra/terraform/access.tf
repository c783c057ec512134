resource "kubernetes_service_account_v1" "service" {
  metadata {
    name      = "oppen-service"
    namespace = kubernetes_namespace_v1.this["service"].metadata[0].name
    labels    = module.plan.labels
  }
}

# Jobs ask nothing of the API server: no rights, and no token either.
resource "kubernetes_service_account_v1" "jobs" {
  metadata {
    name      = "oppen-jobs"
    namespace = kubernetes_namespace_v1.this["jobs"].metadata[0].name
    labels    = module.plan.labels
  }

  automount_service_account_token = false
}

resource "kubernetes_role_v1" "service" {
  for_each = module.plan.rights

  metadata {
    name      = "oppen-service"
    namespace = kubernetes_namespace_v1.this[each.key].metadata[0].name
    labels    = module.plan.labels
  }

  dynamic "rule" {
    for_each = each.value

    content {
      api_groups     = rule.value.api_groups
      resources      = rule.value.resources
      resource_names = rule.value.resource_names
      verbs          = rule.value.verbs
    }
  }
}

resource "kubernetes_role_binding_v1" "service" {
  for_each = module.plan.rights

  metadata {
    name      = "oppen-service"
    namespace = kubernetes_namespace_v1.this[each.key].metadata[0].name
    labels    = module.plan.labels
  }

  role_ref {
    api_group = "rbac.authorization.k8s.io"
    kind      = "Role"
    name      = kubernetes_role_v1.service[each.key].metadata[0].name
  }

  subject {
    kind      = "ServiceAccount"
    name      = kubernetes_service_account_v1.service.metadata[0].name
    namespace = kubernetes_service_account_v1.service.metadata[0].namespace
  }
}
