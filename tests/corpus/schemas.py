"""marshmallow schemas that nest."""

from marshmallow import Schema, fields


class AddressSchema(Schema):
    city = fields.String()


class CustomerSchema(Schema):
    name = fields.String()
    address = fields.Nested(AddressSchema)


class OrderSchema(Schema):
    id = fields.Integer()
    customer = fields.Nested(CustomerSchema)


class TagSchema(Schema):
    name = fields.String()


class DocumentSchema(Schema):
    title = fields.String()
    tags = fields.Pluck(TagSchema, "name", many=True)


class UserSchema(Schema):
    name = fields.String()
    documents = fields.List(fields.Nested(DocumentSchema))


class UserSummarySchema(Schema):
    name = fields.String()
    city = fields.Method("get_city")

    def get_city(self, user):
        # FINDING n_plus_one User.profile x10 fix=joinedload(User.profile)
        #   @shared_lines.schema_method
        return user.profile.city
